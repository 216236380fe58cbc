//! Keys at key services.

use std::collections::BTreeSet;

use super::super::declare::{Declaration, Optional};
use super::super::reader::{HERE, Place, Reader};
use super::super::resolved::{
    Authorities, AwsKmsKey, ConstellationKey, Pkcs11Key, Scheme, Service, VaultKey, VaultLogin,
};
use super::super::settings::{
    AWS_KMS_ENDPOINT, AWS_KMS_KEY, AWS_KMS_REGION, KEYS_KMS, KEYS_KMS_CA, PKCS11_KEY,
    PKCS11_MODULE, PKCS11_PIN, PKCS11_TOKEN, VAULT_ADDRESS, VAULT_ASSOCIATED_DATA, VAULT_AUTH,
    VAULT_AUTH_MOUNT, VAULT_CA, VAULT_JWT_FILE, VAULT_KEY, VAULT_MOUNT, VAULT_NAMESPACE,
    VAULT_ROLE, VAULT_ROLE_ID, VAULT_SECRET_ID, VAULT_TOKEN,
};
use super::super::value::{LoginMethod, Value};

pub(super) fn services(reader: &mut Reader) -> Vec<Service> {
    let mut services = Vec::new();
    services.extend(constellation(reader).map(Service::Constellation));
    let mut names: BTreeSet<String> = services.iter().map(Service::name).collect();
    let mut add = |reader: &mut Reader, found: Option<Service>, at: (&Declaration, usize)| {
        let Some(service) = found else { return };
        // An envelope names its key, so a name must lead to one key only.
        if !names.insert(service.name()) {
            let message = "the same key is configured twice; remove one";
            reader.conflict(at.0, &[at.1], message);
        }
        services.push(service);
    };
    for index in 0..reader.count("keys.vault", HERE) {
        let found = vault(reader, &[index]).map(Service::Vault);
        add(reader, found, (&VAULT_KEY.declaration, index));
    }
    for index in 0..reader.count("keys.aws_kms", HERE) {
        let found = aws_kms(reader, &[index]).map(Service::AwsKms);
        add(reader, found, (&AWS_KMS_KEY.declaration, index));
    }
    for index in 0..reader.count("keys.pkcs11", HERE) {
        let found = pkcs11(reader, &[index]).map(Service::Pkcs11);
        add(reader, found, (&PKCS11_KEY.declaration, index));
    }
    services
}

fn constellation(reader: &mut Reader) -> Option<ConstellationKey> {
    let ca = reader.optional(KEYS_KMS_CA);
    if let Some(path) = &ca {
        reader.require_file(&KEYS_KMS_CA.declaration, path);
    }
    let address = reader.optional(KEYS_KMS)?.0;
    match (address.scheme, &ca) {
        (Scheme::Http, Some(_)) => {
            let message = "the connection is not encrypted, so no certificate is verified; \
                           expected https:// in keys.kms, or no such setting";
            reader.conflict(&KEYS_KMS_CA.declaration, HERE, message);
        }
        (Scheme::Http | Scheme::Https, _) => {}
    }
    Some(ConstellationKey {
        address,
        authorities: authorities(ca),
    })
}

fn vault(reader: &mut Reader, place: Place<'_>) -> Option<VaultKey> {
    let address = reader.required_in(VAULT_ADDRESS, place);
    let ca = reader.optional_in(VAULT_CA, place);
    if let Some(path) = &ca {
        reader.require_file_in(&VAULT_CA.declaration, place, path);
    }
    let namespace = reader.optional_in(VAULT_NAMESPACE, place);
    let mount = reader.value_in(VAULT_MOUNT, place).0;
    let key = reader.required_in(VAULT_KEY, place);
    let associated_data = reader.value_in(VAULT_ASSOCIATED_DATA, place);
    let login = login(reader, place);
    // Every field was read before the first `?`, so that all problems are reported.
    Some(VaultKey {
        address: address?,
        authorities: authorities(ca),
        namespace: namespace.map(|namespace| namespace.0),
        mount,
        key: key?.0,
        associated_data,
        login: login?,
    })
}

fn login(reader: &mut Reader, place: Place<'_>) -> Option<VaultLogin> {
    let method = reader.value_in(VAULT_AUTH, place);
    let mount = reader.optional_in(VAULT_AUTH_MOUNT, place);
    let mount = |usual: &str| mount.map_or_else(|| usual.to_owned(), |mount| mount.0);
    match method {
        LoginMethod::Token => {
            needed(reader, VAULT_TOKEN, place).map(|token| VaultLogin::Token(token.0))
        }
        LoginMethod::AppRole => {
            let role_id = needed(reader, VAULT_ROLE_ID, place);
            let secret_id = needed(reader, VAULT_SECRET_ID, place);
            Some(VaultLogin::AppRole {
                mount: mount("approle"),
                role_id: role_id?,
                secret_id: secret_id?.0,
            })
        }
        LoginMethod::Kubernetes => {
            let role = needed(reader, VAULT_ROLE, place);
            let token_file = reader.value_in(VAULT_JWT_FILE, place);
            // Not read here: the cluster replaces the token, so each login reads the file again.
            reader.findings.secret_file(&token_file);
            Some(VaultLogin::Kubernetes {
                mount: mount("kubernetes"),
                role: role?,
                token_file,
            })
        }
    }
}

/// Reads a setting that the chosen login method requires.
fn needed<T: Value>(reader: &mut Reader, setting: &Optional<T>, place: Place<'_>) -> Option<T> {
    let value = reader.optional_in(setting, place);
    if value.is_none() {
        reader.missing(&setting.declaration, place);
    }
    value
}

fn aws_kms(reader: &mut Reader, place: Place<'_>) -> Option<AwsKmsKey> {
    let key = reader.required_in(AWS_KMS_KEY, place);
    let region = reader.optional_in(AWS_KMS_REGION, place);
    let endpoint = reader.optional_in(AWS_KMS_ENDPOINT, place);
    Some(AwsKmsKey {
        key: key?,
        region: region.map(|region| region.0),
        endpoint,
    })
}

fn pkcs11(reader: &mut Reader, place: Place<'_>) -> Option<Pkcs11Key> {
    let module = reader.required_in(PKCS11_MODULE, place);
    let token = reader.required_in(PKCS11_TOKEN, place);
    let key = reader.required_in(PKCS11_KEY, place);
    let pin = reader.required_in(PKCS11_PIN, place);
    Some(Pkcs11Key {
        module: module?,
        token_label: token?,
        key_label: key?,
        pin: pin?.0,
    })
}

fn authorities(ca: Option<std::path::PathBuf>) -> Authorities {
    ca.map_or(Authorities::System, Authorities::File)
}
