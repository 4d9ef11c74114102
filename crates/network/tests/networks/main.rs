//! Whole networks: against golden files and finite differences, and the laws of their forms.

mod autoencoder;
mod behaviour;
mod compressed;
mod device_rows;
mod experts;
mod families;
mod golden;
mod gradients;
mod inference;
mod invariance;
mod kv_cache;
mod operations;
mod parameter_groups;
mod row_query;
mod two_towers;
