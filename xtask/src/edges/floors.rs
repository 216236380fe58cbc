//! The program's floors: which modules each module may use.

use std::collections::BTreeMap;

use super::Edges;

/// Modules in order, each with the modules that it uses.
type Floors = &'static [(&'static str, &'static [&'static str])];

/// Modules from the ground floor up, each with the modules that it uses, all of them above it in
/// this list. Change it together with the picture in the architecture page.
const FLOORS: Floors = &[
    // Ground floor
    ("version", &[]),
    ("panics", &[]),
    ("effective_name", &[]),
    ("missing_features", &[]),
    ("trusted_proxies", &[]),
    ("net", &[]),
    ("telemetry", &["net", "version"]),
    ("stored_fault", &["telemetry"]),
    // Services of the floors above
    ("throttle", &["telemetry"]),
    ("keys", &["net", "telemetry"]),
    ("rules", &["keys"]),
    ("backend", &["net", "telemetry"]),
    ("record", &["keys", "telemetry"]),
    (
        "body",
        &[
            "backend",
            "panics",
            "record",
            "stored_fault",
            "telemetry",
            "throttle",
        ],
    ),
    // The engine: no module here knows a client's request, its plan or its handler
    (
        "failure",
        &[
            "backend",
            "body",
            "keys",
            "panics",
            "stored_fault",
            "telemetry",
            "throttle",
        ],
    ),
    (
        "objects",
        &[
            "backend",
            "body",
            "failure",
            "keys",
            "record",
            "rules",
            "stored_fault",
            "telemetry",
        ],
    ),
    (
        "upload_state",
        &[
            "backend",
            "body",
            "failure",
            "keys",
            "objects",
            "stored_fault",
            "telemetry",
        ],
    ),
    // Requests
    ("s3_request", &["objects"]),
    (
        "auth",
        &["effective_name", "record", "s3_request", "telemetry"],
    ),
    ("authorization", &["auth", "effective_name", "s3_request"]),
    (
        "respond",
        &[
            "backend",
            "body",
            "failure",
            "keys",
            "record",
            "telemetry",
            "throttle",
        ],
    ),
    (
        "operations",
        &[
            "auth",
            "authorization",
            "backend",
            "body",
            "effective_name",
            "failure",
            "keys",
            "objects",
            "record",
            "respond",
            "s3_request",
            "stored_fault",
            "telemetry",
            "throttle",
            "upload_state",
        ],
    ),
    (
        "listen",
        &["body", "panics", "telemetry", "throttle", "trusted_proxies"],
    ),
    ("health", &["body", "keys", "listen", "objects", "panics"]),
    ("admin", &["keys", "telemetry", "throttle"]),
    (
        "service",
        &[
            "auth",
            "authorization",
            "backend",
            "body",
            "failure",
            "health",
            "missing_features",
            "listen",
            "operations",
            "panics",
            "record",
            "respond",
            "s3_request",
            "telemetry",
            "throttle",
            "trusted_proxies",
        ],
    ),
    // The program
    ("dev", &[]),
    (
        "app",
        &[
            "admin",
            "auth",
            "backend",
            "body",
            "dev",
            "health",
            "keys",
            "listen",
            "objects",
            "operations",
            "panics",
            "rules",
            "service",
            "telemetry",
            "throttle",
            "trusted_proxies",
            "upload_state",
            "version",
        ],
    ),
    (
        "commands",
        &[
            "app",
            "backend",
            "body",
            "effective_name",
            "failure",
            "keys",
            "objects",
            "record",
            "rules",
            "stored_fault",
            "upload_state",
        ],
    ),
    ("cli", &["commands", "version"]),
    (
        "fuzzing",
        &[
            "auth",
            "backend",
            "keys",
            "listen",
            "record",
            "telemetry",
            "trusted_proxies",
        ],
    ),
];

/// Edges that no floor lists, and listed edges that no source has, as sentences.
pub(super) fn violations(used: &Edges) -> Vec<String> {
    judged(FLOORS, used)
}

fn judged(floors: Floors, used: &Edges) -> Vec<String> {
    let order: BTreeMap<&str, usize> = floors
        .iter()
        .enumerate()
        .map(|(floor, (module, _))| (*module, floor))
        .collect();
    let mut violations = Vec::new();
    for ((module, other), source) in used {
        let listed = order.get(module.as_str()).map(|floor| floors[*floor].1);
        match listed {
            None => violations.push(format!(
                "{source} uses {other}, but {module} is on no floor"
            )),
            Some(listed) if !listed.contains(&other.as_str()) => {
                violations.push(format!("{source} uses {other}, which {module} must not"));
            }
            Some(_) => {}
        }
    }
    for (floor, (module, listed)) in floors.iter().enumerate() {
        for other in *listed {
            if order.get(other).is_none_or(|lower| *lower >= floor) {
                violations.push(format!(
                    "the list lets {module} use {other}, which is not below it"
                ));
            }
            if !used.contains_key(&((*module).to_owned(), (*other).to_owned())) {
                violations.push(format!(
                    "the list lets {module} use {other}, but no source does"
                ));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: Floors = &[("keys", &[]), ("backend", &["keys"]), ("app", &["backend"])];

    fn violations(edges: &[(&str, &str)]) -> Vec<String> {
        let named = |(from, to): &(&str, &str)| {
            let edge = ((*from).to_owned(), (*to).to_owned());
            (edge, format!("{from}.rs"))
        };
        judged(HOUSE, &edges.iter().map(named).collect())
    }

    #[test]
    fn the_listed_edges_are_allowed() {
        assert_eq!(
            violations(&[("backend", "keys"), ("app", "backend")]),
            [""; 0]
        );
    }

    #[test]
    fn an_edge_that_is_not_listed_is_found() {
        let upward = [("backend", "keys"), ("app", "backend"), ("keys", "app")];
        assert_eq!(
            violations(&upward),
            ["keys.rs uses app, which keys must not"]
        );
    }

    #[test]
    fn a_module_on_no_floor_is_found() {
        let unknown = [("backend", "keys"), ("app", "backend"), ("new", "keys")];
        assert_eq!(
            violations(&unknown),
            ["new.rs uses keys, but new is on no floor"]
        );
    }

    #[test]
    fn a_listed_edge_without_a_use_is_found() {
        assert_eq!(
            violations(&[("backend", "keys")]),
            ["the list lets app use backend, but no source does"]
        );
    }

    #[test]
    fn a_list_that_leads_upward_is_found() {
        let floors: Floors = &[("keys", &["backend"]), ("backend", &[])];
        let used = [(
            ("keys".to_owned(), "backend".to_owned()),
            "keys.rs".to_owned(),
        )];
        assert_eq!(
            judged(floors, &used.into()),
            ["the list lets keys use backend, which is not below it"]
        );
    }
}
