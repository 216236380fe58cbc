//! A vendor's PKCS#11 library, loaded and initialised once in this process.
//!
//! PKCS#11 allows one `C_Initialize` per process, for any number of keys, so the libraries are in
//! one global list. Some libraries look for tokens only during initialisation: a token that was
//! absent is found after the library was finalised and initialised again. That ends all sessions of
//! all keys and must not happen during a call. So calls hold a read lock on the library, and a
//! restart holds the write lock. The epoch identifies sessions from before a restart, whose handles
//! may denote other sessions now.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Context};
use cryptoki::error::{Error, RvError};

use super::Pkcs11Error;
use super::failure::TokenFailure;

/// Least time between two restarts: each costs every key its sessions, and an absent token does not
/// justify more.
const MIN_RESTART_INTERVAL: Duration = Duration::from_secs(1);

static LIBRARIES: Mutex<Vec<Arc<Library>>> = Mutex::new(Vec::new());

/// Number of initialisations of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// A loaded library.
pub(super) struct Library {
    module: PathBuf,
    state: RwLock<LibraryState>,
}

struct LibraryState {
    context: Context,
    epoch: Epoch,
    /// Time of the last initialisation; `None` before the first.
    started: Option<Instant>,
}

impl Library {
    /// Returns the library of this file, shared by every key that names it.
    pub(super) fn load(module: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        let error = |reason: String| Pkcs11Error::Module {
            module: module.to_owned(),
            reason,
        };
        let module = module
            .canonicalize()
            .map_err(|found| error(found.to_string()))?;
        // Canonical paths, since the same library under two names must not be initialised twice.
        let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = libraries.iter().find(|library| library.module == module) {
            return Ok(Arc::clone(library));
        }
        let context = Context::new(&module).map_err(|found| error(found.to_string()))?;
        let library = Arc::new(Self {
            module,
            state: RwLock::new(LibraryState {
                context,
                epoch: Epoch(0),
                started: None,
            }),
        });
        libraries.push(Arc::clone(&library));
        Ok(library)
    }

    /// Runs calls into the initialised library, which is initialised on first use.
    pub(super) fn enter<T>(
        &self,
        calls: impl FnOnce(&Context, Epoch) -> Result<T, TokenFailure>,
    ) -> Result<T, TokenFailure> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.started.is_some() {
            return calls(&state.context, state.epoch);
        }
        drop(state);
        // `start` checks again: another thread may have initialised the library between the two
        // locks.
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .start()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        calls(&state.context, state.epoch)
    }

    /// Restarts the library, unless another thread did so since `epoch`, it was restarted a moment
    /// ago, or a call is in flight. Returns whether a retry is worthwhile.
    pub(super) fn restart(&self, epoch: Epoch) -> Result<bool, TokenFailure> {
        // Never waits for the lock: a hung call would hold up the restart, and with it every new
        // reader.
        let mut state = match self.state.try_write() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        // Another thread has restarted the library: the caller retries in the new epoch.
        if state.epoch != epoch {
            return Ok(true);
        }
        if state
            .started
            .is_some_and(|started| started.elapsed() < MIN_RESTART_INTERVAL)
        {
            return Ok(false);
        }
        // Cleared first: if `finalize` or `start` fails, the next `enter` initialises the library.
        state.started = None;
        match state.context.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(error) => return Err(TokenFailure::from(error)),
        }
        state.start()?;
        Ok(true)
    }
}

impl LibraryState {
    fn start(&mut self) -> Result<(), TokenFailure> {
        if self.started.is_some() {
            return Ok(());
        }
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match self.context.initialize(arguments) {
            // Another user of the library in this process may have initialised it: that is as good.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                self.epoch = Epoch(self.epoch.0 + 1);
                self.started = Some(Instant::now());
                Ok(())
            }
            Err(error) => Err(TokenFailure::from(error)),
        }
    }
}
