//! The known clients and their grants.

use std::collections::BTreeMap;

use super::super::declare::Setting;
use super::super::notice::Notice;
use super::super::reader::{HERE, Place, Reader};
use super::super::resolved::{
    Authentication, Client, Clients, Grant, KnownClients, Pattern, Permission, SessionToken,
};
use super::super::settings::{
    CLIENT_ACCESS_KEY_ID, CLIENT_NAME, CLIENT_REQUESTS_PER_SECOND, CLIENT_SECRET_ACCESS_KEY,
    CLIENT_SESSION_TOKEN, CLIENT_SIGNATURE_V2, CLIENTS_ANONYMOUS_READ_BUCKETS, CLIENTS_AUTH,
    GRANT_BUCKETS, GRANT_OPERATIONS, GRANT_PREFIXES,
};
use super::super::value::{AuthenticationMode, List, Scalar};
use super::bound;

pub(super) fn clients(reader: &mut Reader) -> Clients {
    let mode = reader.value(CLIENTS_AUTH);
    let buckets = reader.value(CLIENTS_ANONYMOUS_READ_BUCKETS).0;
    let count = reader.count("clients.known", HERE);
    let known: Vec<Client> = (0..count)
        .filter_map(|index| client(reader, index))
        .collect();
    refuse_doubles(reader, count);
    Clients {
        authentication: authentication(reader, mode, known, count),
        anonymous_read_buckets: buckets.into_iter().map(|bucket| bucket.0).collect(),
    }
}

fn authentication(
    reader: &mut Reader,
    mode: AuthenticationMode,
    known: Vec<Client>,
    count: usize,
) -> Authentication {
    match mode {
        AuthenticationMode::None if count > 0 => {
            let message = "with none, the listed clients would have no effect; expected sigv4, or \
                           no clients.known";
            reader.conflict(&CLIENTS_AUTH.declaration, HERE, message);
            Authentication::None
        }
        AuthenticationMode::None => {
            reader.findings.notices.push(Notice::NoAuthentication);
            Authentication::None
        }
        AuthenticationMode::SigV4 if known.is_empty() => Authentication::SigV4 {
            known: KnownClients::BackendCredential,
        },
        AuthenticationMode::SigV4 => Authentication::SigV4 {
            known: KnownClients::List(known),
        },
    }
}

fn refuse_doubles(reader: &mut Reader, count: usize) {
    let mut seen = BTreeMap::new();
    for index in 0..count {
        let Some(access_key_id) = reader.text(&CLIENT_ACCESS_KEY_ID.declaration, &[index]) else {
            continue;
        };
        if let Some(first) = seen.insert(access_key_id, index) {
            let message = format!(
                "clients.known[{first}] has it already; expected one client per access key"
            );
            reader.conflict(&CLIENT_ACCESS_KEY_ID.declaration, &[index], message);
        }
    }
}

fn client(reader: &mut Reader, index: usize) -> Option<Client> {
    let place = [index];
    let name = reader.optional_in(CLIENT_NAME, &place);
    let access_key_id = reader.required_in(CLIENT_ACCESS_KEY_ID, &place);
    let secret_access_key = reader.required_in(CLIENT_SECRET_ACCESS_KEY, &place);
    let session_token = reader.optional_in(CLIENT_SESSION_TOKEN, &place);
    let signature_v2 = reader.value_in(CLIENT_SIGNATURE_V2, &place);
    let requests_per_second = reader.optional_in(CLIENT_REQUESTS_PER_SECOND, &place);
    // Without a grants table there is one grant, whose defaults allow everything.
    let count = reader.count("clients.known[].grants", &place).max(1);
    let grants = (0..count)
        .map(|grant_index| grant(reader, &[index, grant_index]))
        .collect();
    // Every field was read before the first `?`, so that all problems are reported.
    let access_key_id = access_key_id?.0;
    let name = name.unwrap_or_else(|| access_key_id.clone());
    if signature_v2 == Permission::Allow {
        let client = name.clone();
        reader.findings.notices.push(Notice::SignatureV2 { client });
    }
    Some(Client {
        name,
        access_key_id,
        secret_access_key: secret_access_key?.0,
        session_token: session_token.map_or(SessionToken::Absent, |token| {
            SessionToken::Required(token.0)
        }),
        signature_v2,
        requests_per_second: requests_per_second.map(bound),
        grants,
    })
}

fn grant(reader: &mut Reader, place: Place<'_>) -> Grant {
    Grant {
        operations: some(reader, GRANT_OPERATIONS, place).into_iter().collect(),
        buckets: some::<Pattern>(reader, GRANT_BUCKETS, place),
        prefixes: some::<Pattern>(reader, GRANT_PREFIXES, place),
    }
}

/// Reads a list that must not be empty: such a grant would allow nothing, which can only be a
/// mistake.
fn some<T: Scalar>(reader: &mut Reader, setting: &Setting<List<T>>, place: Place<'_>) -> Vec<T> {
    let List(items) = reader.value_in(setting, place);
    if items.is_empty() {
        let expected = (setting.declaration.expects)();
        let message = format!("the list is empty; expected {expected}, or no such setting");
        reader.conflict(&setting.declaration, place, message);
    }
    items
}
