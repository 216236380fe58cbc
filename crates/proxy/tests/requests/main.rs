//! Requests in process: the whole service, wired as in the program, from a client's bytes to the
//! requests that the backend received.
//!
//! The backend is the embedded store of `s3proxy dev`, with a script in front that records every
//! request and may respond in place of the store. No test needs root, Python or a network.

#![cfg(feature = "dev")]
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where its surroundings fail"
)]

#[allow(
    dead_code,
    unused_imports,
    reason = "what one module of tests does not use, another does"
)]
mod harness;
mod simple_backend;

mod any_object;
mod backend_answers;
mod backend_headers;
mod backend_listings;
mod catalogue;
mod checksums;
mod completing;
mod costs;
mod crowd;
mod deletions;
mod etags;
mod heads;
mod held_bodies;
mod host_names;
mod hostile_backend;
mod ids;
mod ignored;
mod inspecting;
mod key_services;
mod limits_page;
mod listings;
mod loops;
mod memory_store;
mod mistakes;
mod names_in_effect;
mod objects;
mod older;
mod operation_list;
mod operations_refused;
mod page_forms;
mod pages;
mod parts;
mod preflights;
mod providers;
mod reasons;
mod rotation;
mod round_trips;
mod sealed_metadata;
mod sweeping;
mod tenants;
mod traces;
mod upload_checksums;
mod uploads;
mod verifying;
mod version_2;
mod versions;
