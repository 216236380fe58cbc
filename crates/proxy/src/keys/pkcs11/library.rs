//! A vendor's PKCS#11 library, loaded and initialised once in this process.
//!
//! PKCS#11 allows one `C_Initialize` for a process, however many keys it uses, so the libraries are
//! kept in one list. Some libraries look for tokens only then: one that was absent is found after
//! the library has been finalised and initialised again. That ends all sessions of all keys and must
//! not happen while a call is running, so calls hold the library for reading and a start anew holds
//! it for writing. The epoch tells sessions from before apart; their handles may name others' now.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Context};
use cryptoki::error::{Error, RvError};

use super::Pkcs11Error;
use super::failure::Failure;

/// Starting anew costs every key its sessions; an absent token is not worth it more often.
const START_ANEW_AFTER: Duration = Duration::from_secs(1);

static LIBRARIES: Mutex<Vec<Arc<Library>>> = Mutex::new(Vec::new());

/// Counts the initialisations of a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

/// A loaded library.
pub(super) struct Library {
    module: PathBuf,
    state: RwLock<State>,
}

struct State {
    context: Context,
    epoch: Epoch,
    /// When it was initialised last, if it was.
    started: Option<Instant>,
}

impl Library {
    /// The library of this file, the same one for every key that names it.
    pub(super) fn load(module: &Path) -> Result<Arc<Self>, Pkcs11Error> {
        let error = |reason: String| Pkcs11Error::Module {
            module: module.to_owned(),
            reason,
        };
        let module = module
            .canonicalize()
            .map_err(|found| error(found.to_string()))?;
        let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = libraries.iter().find(|library| library.module == module) {
            return Ok(Arc::clone(library));
        }
        let context = Context::new(&module).map_err(|found| error(found.to_string()))?;
        let library = Arc::new(Self {
            module,
            state: RwLock::new(State {
                context,
                epoch: Epoch(0),
                started: None,
            }),
        });
        libraries.push(Arc::clone(&library));
        Ok(library)
    }

    /// Runs calls into the initialised library.
    pub(super) fn enter<T>(
        &self,
        calls: impl FnOnce(&Context, Epoch) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.started.is_some() {
            return calls(&state.context, state.epoch);
        }
        drop(state);
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .start()?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        calls(&state.context, state.epoch)
    }

    /// Finalises and initialises the library, unless someone did since `epoch`, did so just now, or
    /// is inside a call. Says whether it is worth to try again.
    pub(super) fn start_anew(&self, epoch: Epoch) -> Result<bool, Failure> {
        let mut state = match self.state.try_write() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(false),
        };
        if state.epoch != epoch {
            return Ok(true);
        }
        if state
            .started
            .is_some_and(|started| started.elapsed() < START_ANEW_AFTER)
        {
            return Ok(false);
        }
        state.started = None;
        match state.context.clone().finalize() {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => {}
            Err(error) => return Err(Failure::from(error)),
        }
        state.start()?;
        Ok(true)
    }
}

impl State {
    fn start(&mut self) -> Result<(), Failure> {
        if self.started.is_some() {
            return Ok(());
        }
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match self.context.initialize(arguments) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
                self.epoch = Epoch(self.epoch.0 + 1);
                self.started = Some(Instant::now());
                Ok(())
            }
            Err(error) => Err(Failure::from(error)),
        }
    }
}
