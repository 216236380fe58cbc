//! The proxy's own certificate, following its files.
//!
//! Files change in many ways: by a swapped symbolic link (Kubernetes), by a rename, by overwriting.
//! So their contents are compared, and a pair is adopted once it stayed the same between two checks
//! and its two halves belong together. Until then the last good pair is served; the log reports a
//! problem with the new one, once.
//!
//! New handshakes use the new pair. Open connections keep the old one, and so do resumed sessions,
//! which show no certificate.
//!
//! Absent: inotify, which sees neither network file systems nor the targets of links.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::Notify;

use super::tls::{self, CertificatePair, TlsError};
use crate::config::{FileChange, FileWatcher, Files};
use crate::telemetry::metrics;

/// Interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Files of certificate and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

/// Certificate for TLS handshakes.
pub(crate) struct Certificate {
    current: RwLock<LoadedCertificate>,
    /// Notified when other files are followed.
    moved: Notify,
}

struct LoadedCertificate {
    files: CertificateFiles,
    /// Contents of the files when they were read.
    read: Files,
    key: Arc<CertifiedKey>,
    /// Warning about the certificate when it was read.
    concern: Option<String>,
}

impl LoadedCertificate {
    fn of(files: CertificateFiles, pair: &CertificatePair) -> Self {
        Self {
            files,
            read: pair.read.clone(),
            key: Arc::clone(&pair.key),
            concern: pair.concern(),
        }
    }
}

impl Certificate {
    /// Loads the pair from these files.
    pub(crate) fn load(files: CertificateFiles) -> Result<Arc<Self>, TlsError> {
        let pair = tls::pair(&files)?;
        log_loaded(&pair);
        Ok(Arc::new(Self {
            current: RwLock::new(LoadedCertificate::of(files, &pair)),
            moved: Notify::new(),
        }))
    }

    /// Returns why clients refuse the certificate, or soon will.
    pub(crate) fn concern(&self) -> Option<String> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.concern.clone()
    }

    /// Serves `pair` from now on, and follows its files.
    pub(crate) fn serve(&self, files: CertificateFiles, pair: &CertificatePair) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // The same certificate, read again, is no news for the log.
        let is_new = current.key.cert != pair.key.cert;
        let moved = current.files != files;
        *current = LoadedCertificate::of(files, pair);
        drop(current);
        if is_new {
            log_loaded(pair);
        }
        if moved {
            self.moved.notify_one();
        }
    }

    /// Follows the files forever, and serves their contents.
    pub(crate) async fn follow(&self) {
        loop {
            let (files, read) = {
                let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
                (current.files.clone(), current.read.clone())
            };
            tokio::select! {
                // Ended by `moved`: other files are followed from then on.
                () = self.follow_files(&files, FileWatcher::new(read)) => {}
                () = self.moved.notified() => {}
            }
        }
    }

    async fn follow_files(&self, files: &CertificateFiles, mut watcher: FileWatcher) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            match watcher.check().await {
                FileChange::Same | FileChange::Moving => {}
                FileChange::Settled => self.take(files),
            }
        }
    }

    fn take(&self, files: &CertificateFiles) {
        match tls::pair(files) {
            Ok(pair) => self.serve(files.clone(), &pair),
            Err(error) => tracing::error!(
                %error,
                "cannot use the changed certificate files; keeping the previous certificate"
            ),
        }
    }
}

/// Logs the certificate that is served from now on.
fn log_loaded(pair: &CertificatePair) {
    let expires = tls::rfc3339(pair.not_after);
    tracing::info!(%expires, "TLS certificate loaded");
    metrics::certificate(pair.not_after);
    if let Some(concern) = pair.concern() {
        tracing::warn!("{concern}");
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.key))
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;

    /// Certificate and key as PEM, and the certificate as it is served.
    struct Issued {
        certificate: String,
        key: String,
        der: Vec<u8>,
    }

    fn issued() -> Issued {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["s3.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Issued {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().to_vec(),
        }
    }

    fn files(folder: &Path) -> CertificateFiles {
        CertificateFiles {
            certificate: folder.join("s3proxy.crt"),
            private_key: folder.join("s3proxy.key"),
        }
    }

    fn write(folder: &Path, pair: &Issued) {
        fs::write(folder.join("s3proxy.crt"), &pair.certificate).unwrap();
        fs::write(folder.join("s3proxy.key"), &pair.key).unwrap();
    }

    fn serves(certificate: &Certificate, pair: &Issued) -> bool {
        let current = certificate.current.read().unwrap();
        current.key.cert[0].as_ref() == pair.der.as_slice()
    }

    async fn until_served(certificate: &Certificate, pair: &Issued) {
        let served = async {
            while !serves(certificate, pair) {
                tokio::time::sleep(CHECK_INTERVAL / 4).await;
            }
        };
        let waited = tokio::time::timeout(5 * CHECK_INTERVAL, served).await;
        waited.expect("a changed pair is served within seconds");
    }

    /// Starts a certificate that is followed in the background.
    fn followed(folder: &Path) -> Arc<Certificate> {
        let certificate = Certificate::load(files(folder)).unwrap();
        let following = Arc::clone(&certificate);
        tokio::spawn(async move { following.follow().await });
        certificate
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_that_was_written_over_is_served() {
        let folder = TempDir::new().unwrap();
        let (first, second) = (issued(), issued());
        write(folder.path(), &first);
        let certificate = followed(folder.path());
        assert!(serves(&certificate, &first));
        write(folder.path(), &second);
        until_served(&certificate, &second).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_behind_a_swapped_link_is_served() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let pairs = [issued(), issued()];
        for (name, pair) in ["first", "second"].into_iter().zip(&pairs) {
            fs::create_dir(at(name)).unwrap();
            write(&at(name), pair);
        }
        // As the kubelet lays out a volume, and changes it.
        symlink("first", at("..data")).unwrap();
        for name in ["s3proxy.crt", "s3proxy.key"] {
            symlink(Path::new("..data").join(name), at(name)).unwrap();
        }
        let certificate = followed(folder.path());
        symlink("second", at("..tmp")).unwrap();
        fs::rename(at("..tmp"), at("..data")).unwrap();
        until_served(&certificate, &pairs[1]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_pair_stays_until_both_halves_of_the_new_one_are_there() {
        let folder = TempDir::new().unwrap();
        let (first, second) = (issued(), issued());
        write(folder.path(), &first);
        let certificate = followed(folder.path());
        fs::write(folder.path().join("s3proxy.crt"), &second.certificate).unwrap();
        tokio::time::sleep(10 * CHECK_INTERVAL).await;
        assert!(serves(&certificate, &first));
        // Half of the key: its writer is not done.
        fs::write(folder.path().join("s3proxy.key"), &second.key[..50]).unwrap();
        tokio::time::sleep(10 * CHECK_INTERVAL).await;
        assert!(serves(&certificate, &first));
        fs::write(folder.path().join("s3proxy.key"), &second.key).unwrap();
        until_served(&certificate, &second).await;
    }

    #[tokio::test(start_paused = true)]
    async fn other_files_are_followed_from_when_they_are_named() {
        let (old, new) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let pairs = [issued(), issued(), issued()];
        write(old.path(), &pairs[0]);
        write(new.path(), &pairs[1]);
        let certificate = followed(old.path());
        let named = files(new.path());
        certificate.serve(named.clone(), &tls::pair(&named).unwrap());
        assert!(serves(&certificate, &pairs[1]));
        write(new.path(), &pairs[2]);
        until_served(&certificate, &pairs[2]).await;
    }

    #[test]
    fn halves_of_two_pairs_are_refused_by_name() {
        let folder = TempDir::new().unwrap();
        let mut mixed = issued();
        // The key of another certificate.
        mixed.key = issued().key;
        write(folder.path(), &mixed);
        let error = Certificate::load(files(folder.path())).unwrap_err();
        assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
        fs::write(folder.path().join("s3proxy.crt"), "").unwrap();
        let error = Certificate::load(files(folder.path())).unwrap_err();
        assert!(matches!(error, TlsError::Empty(_)), "{error}");
    }
}
