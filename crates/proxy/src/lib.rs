//! An encrypting proxy for S3: clients speak S3 to it, and the storage provider receives only
//! ciphertext.
//!
//! Data flows one way: `listen` accepts, `service` orders the steps, `auth` admits known clients,
//! `authorization` permits or refuses, `operations` handles, and the engine (`objects`, `upload_state`) reads and writes
//! stored objects with the help of `keys`, `body` and `backend`. `respond` turns failures into S3's
//! responses. Only `app` wires them together. `commands` uses the engine without clients.

mod admin;
pub mod app;
mod auth;
mod authorization;
mod backend;
mod body;
pub mod cli;
pub mod commands;
pub use s3proxy_config as config;
#[cfg(feature = "dev")]
pub mod dev;
mod effective_name;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod keys;
mod listen;
mod missing_features;
mod net;
mod objects;
mod operations;
mod panics;
mod record;
mod respond;
mod rules;
mod s3_request;
mod service;
mod stored_fault;
pub mod telemetry;
mod throttle;
mod trusted_proxies;
mod upload_state;
pub mod version;
