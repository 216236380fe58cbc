//! Configuration: a TOML file, environment variables and flags become one [`resolved::Config`].

mod dek_tag;
mod endpoint;
mod pattern;
pub mod resolved;
mod secret;
