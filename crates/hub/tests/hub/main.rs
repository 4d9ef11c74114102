//! Downloads from a Hub on loopback into a cache, and what the cache says afterwards.

mod caching;
mod pulling;
mod refusals;
mod support;
