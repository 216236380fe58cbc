//! Tests of the client against servers in this process, on real sockets.
//!
//! The servers are scripted byte by byte, since the subject is the client's behaviour on responses
//! that a well-behaved HTTP library would not send. `live` runs against an S3 server.

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
