//! The client against servers of this process, on real sockets.
//!
//! The servers are scripted byte by byte, since what matters is how the client behaves towards
//! answers that a well-behaved HTTP library would not give. `live` runs against an S3 server.

mod clock;
mod connection;
mod credentials;
mod live;
mod redirect;
mod region;
mod repetition;
mod resumption;
mod signature;
mod status;
mod stream;
mod support;
mod tls;
mod trailer;
