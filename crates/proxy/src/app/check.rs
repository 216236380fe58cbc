//! `s3proxy check-config`: everything that `serve` does before it listens, without lasting effects.

use super::StartError;
use super::running_service::RunningService;
use crate::backend::Credentials;
use crate::config::resolved::{
    AuditOutput, Authentication, Config, Credential, KnownClients, SecretText,
};
use crate::keys::Readiness;
use crate::telemetry::audit::AuditLog;

/// Scope of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckScope {
    /// Check files and settings only.
    Local,
    /// Check the backend and the key services as well.
    Online,
}

/// Remarks about a valid configuration.
#[derive(Default)]
pub struct Remarks {
    /// Settings that are valid, but probably not intended.
    pub warnings: Vec<String>,
    /// Results of the checks, and checks that were skipped.
    pub notes: Vec<String>,
}

/// Builds everything that serves this configuration, as the start does, and drops it again.
pub async fn check(mut config: Config, scope: CheckScope) -> Result<Remarks, StartError> {
    let mut remarks = Remarks::default();
    if scope == CheckScope::Local {
        remarks.notes.extend(leave_out_remote(&mut config)?);
    }
    AuditLog::check(&config.audit)?;
    // Checked above without creating the file; starting it would create it.
    config.audit.output = AuditOutput::Off;
    let serving = Box::pin(RunningService::begin(config)).await?;
    let certificate = serving.certificate();
    let concern = certificate.and_then(|certificate| certificate.concern());
    remarks.warnings.extend(concern);
    if scope == CheckScope::Online {
        remarks.notes.extend(ask(&serving).await?);
    }
    Ok(remarks)
}

/// Replaces a credential that only a remote service can give by a placeholder.
fn leave_out_remote(config: &mut Config) -> Result<Option<String>, StartError> {
    let is_remote = match &config.backend.credential {
        Credential::Static { .. } => false,
        Credential::DefaultChain => Credentials::come_from_a_service(),
    };
    if !is_remote {
        return Ok(None);
    }
    match config.clients.authentication {
        Authentication::SigV4 {
            known: KnownClients::BackendCredential,
        } => return Err(StartError::NoClients),
        Authentication::SigV4 { .. } | Authentication::None => {}
    }
    let unused = SecretText::new("unused".to_owned().into()).expect("it is not empty");
    config.backend.credential = Credential::Static {
        access_key_id: "unused".to_owned(),
        secret_access_key: unused,
    };
    let note = "The role's credential for the backend was not requested; use --online to check it.";
    Ok(Some(note.to_owned()))
}

/// Checks that the backend and the key services work.
async fn ask(serving: &RunningService) -> Result<Vec<String>, StartError> {
    let store = serving.store().borrow().clone();
    let (access, keys) = tokio::join!(store.backend.access(), store.keys.readiness());
    let mut failures = Vec::new();
    let mut notes = Vec::new();
    match access {
        Ok(()) => notes.push("The backend is reachable and accepts the credential.".to_owned()),
        Err(error) => failures.push(error.to_string()),
    }
    match keys {
        Readiness::Ready => notes.push("All keys can be used.".to_owned()),
        Readiness::Degraded(reasons) => failures.extend(reasons),
        Readiness::NotReady(reason) => failures.push(format!("cannot seal objects: {reason}")),
    }
    if failures.is_empty() {
        Ok(notes)
    } else {
        Err(StartError::Refused(failures.join("\n")))
    }
}
