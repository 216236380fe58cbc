//! The audit log and traces.

use crate::config::reader::Reader;
use crate::config::resolved::{Audit, Traces};
use crate::config::settings::{
    AUDIT_OBJECT_KEYS, AUDIT_ON_FAILURE, AUDIT_OUTPUT, TRACES_ENDPOINT, TRACES_SAMPLE_RATIO,
    TRACES_SERVICE_NAME,
};

pub(super) fn audit(reader: &mut Reader) -> Audit {
    Audit {
        output: reader.value(AUDIT_OUTPUT),
        object_keys: reader.value(AUDIT_OBJECT_KEYS),
        on_failure: reader.value(AUDIT_ON_FAILURE),
    }
}

pub(super) fn traces(reader: &mut Reader) -> Traces {
    let sample_ratio = reader.value(TRACES_SAMPLE_RATIO).0;
    let service_name = reader.value(TRACES_SERVICE_NAME);
    match reader.optional(TRACES_ENDPOINT) {
        None => Traces::Off,
        Some(collector) => Traces::Sent {
            collector: collector.0,
            sample_ratio,
            service_name,
        },
    }
}
