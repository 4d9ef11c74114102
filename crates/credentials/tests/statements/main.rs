//! What is signed is read as it was stated, and what is changed is found.

mod damage;
mod keys;
mod round_trip;
mod support;
