//! Ground floor for outgoing connections: trusted roots, error causes as text, and the HTTP client
//! for other servers than the backend.

mod causes;
pub(crate) mod roots;
mod service_client;

pub(crate) use self::causes::with_causes;
pub(crate) use self::roots::PemError;
pub(crate) use self::roots::trusted_roots;
pub(crate) use self::service_client::{ServiceClient, service_client};
