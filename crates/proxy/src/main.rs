//! The binary: each command as a list of steps.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::process::ExitCode;

use s3proxy::app::{self, App, Reload, StartError};
use s3proxy::cli::migration::{DecryptArguments, DecryptTask, MigrateArguments, RecoverArguments};
use s3proxy::cli::objects::{InspectArguments, RewrapArguments, VerifyArguments};
use s3proxy::cli::{
    self, CheckConfigArguments, Command, CompletionsArguments, HealthArguments, ManArguments,
    SweepArguments,
};
use s3proxy::commands::CommandEnd;
use s3proxy::commands::check_config::{CheckScope, check_config};
use s3proxy::commands::decrypt::decrypt;
use s3proxy::commands::decrypt_one::decrypt_one;
use s3proxy::commands::health::{HealthCheck, ask};
use s3proxy::commands::inspect::inspect;
use s3proxy::commands::keygen::keygen;
use s3proxy::commands::migrate::migrate;
use s3proxy::commands::recover::recover;
use s3proxy::commands::rewrap::rewrap;
use s3proxy::commands::sweep::sweep;
use s3proxy::commands::verify::verify;
use s3proxy::config::resolved::Config;
use s3proxy::config::{self, LoadedConfig, Problems, ScopedFlags, Serving, SettingFlags, Sources};
use s3proxy::telemetry::{self, LogForm, LogLevels};
use s3proxy_envelope::kek::Kek;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Allocator that returns memory to the system after a peak (docs/adr/0011-jemalloc.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit status if the configuration or the environment is wrong: nothing was started. clap exits
/// with 2 on wrong arguments; the other statuses are in [`CommandEnd::status`].
const EXIT_NOT_STARTED: u8 = 1;

fn main() -> ExitCode {
    // First of all: from here on secrets may be in memory.
    if let Err(error) = telemetry::forbid_core_dumps() {
        eprintln!("warning: {error}");
    }
    match cli::parse(std::env::args_os()) {
        Command::Serve(flags) => serve(flags),
        #[cfg(feature = "dev")]
        Command::Dev(dev) => develop(dev),
        Command::Health(arguments) => run_health(arguments),
        Command::Keygen => exit(keygen(&mut io::stdout(), &mut io::stderr())),
        Command::Inspect(arguments) => run_inspect(arguments),
        Command::Verify(arguments) => run_verify(arguments),
        Command::Rewrap(arguments) => run_rewrap(arguments),
        Command::Migrate(arguments) => run_migrate(arguments),
        Command::Decrypt(arguments) => run_decrypt(arguments),
        Command::Recover(arguments) => run_recover(arguments),
        Command::Sweep(arguments) => run_sweep(arguments),
        Command::CheckConfig(arguments) => run_check_config(arguments),
        Command::Completions(arguments) => run_completions(&arguments),
        Command::Man(arguments) => run_man(&arguments),
    }
}

fn serve(flags: ScopedFlags<Serving>) -> ExitCode {
    let sources = Sources::new(flags, std::env::vars_os());
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return not_started(&error),
    };
    // From here on SIGHUP requests a reload and does not end the process, even during the start.
    let hangups = {
        let _context = runtime.enter();
        match signal(SignalKind::hangup()).map_err(StartError::Signal) {
            Ok(hangups) => hangups,
            Err(error) => return not_started(&error),
        }
    };
    let ended = run_on(&runtime, sources.clone(), |loaded, levels| async {
        app::announce(&loaded.config, sources.file().as_deref());
        let (config, reloading) = Reload::prepare(sources, loaded, hangups, levels);
        let app = App::start(config).await?;
        let app = app.checking_the_backend();
        app.run(reloading, stop_signal()?).await;
        Ok(ExitCode::SUCCESS)
    });
    match ended {
        Ok(code) => code,
        // A log for machines has to contain everything, the final error too.
        Err((error, LogForm::Json)) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_NOT_STARTED)
        }
        Err((error, LogForm::Text)) => not_started(&error),
    }
}

#[cfg(feature = "dev")]
fn develop(dev: cli::DevArguments) -> ExitCode {
    use s3proxy::app::Reloading;
    use s3proxy::dev::Development;

    let development = match Development::open(dev.directory.as_deref()) {
        Ok(development) => development,
        Err(error) => return not_started(&error),
    };
    let sources = development.preset(Sources::new(dev.settings, std::env::vars_os()));
    run(sources, |mut loaded| async move {
        let store = development.start_store(&mut loaded.config).await?;
        let app = App::start(loaded.config).await?;
        println!("{}", development.welcome(app.address(), &store));
        app.run(Reloading::Off, stop_or_hangup_signal()?).await;
        Ok(ExitCode::SUCCESS)
    })
}

fn run_health(arguments: HealthArguments) -> ExitCode {
    let check = if arguments.ready {
        HealthCheck::Ready
    } else {
        HealthCheck::Alive
    };
    let sources = Sources::new(arguments.settings, std::env::vars_os());
    let addresses = match config::addresses(sources) {
        Ok(addresses) => addresses,
        Err(problems) => return not_started(&problems),
    };
    // One request needs no worker threads.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return not_started(&error),
    };
    let response = runtime.block_on(ask(&addresses, check));
    exit(response.map(|text| print!("{text}")))
}

fn run_inspect(arguments: InspectArguments) -> ExitCode {
    let (selection, format) = arguments.objects.scope(!arguments.summary);
    let sources = without_keys(command_sources(arguments.settings));
    run_command(sources, |config| async {
        let mut output = anstream::stdout();
        inspect(config, selection, format, &mut output).await
    })
}

fn run_verify(arguments: VerifyArguments) -> ExitCode {
    let (selection, format) = arguments.objects.scope(arguments.verbose);
    let scope = arguments.depth();
    run_command(reading_sources(arguments.settings), |config| {
        verify(config, selection, format, scope)
    })
}

fn run_rewrap(arguments: RewrapArguments) -> ExitCode {
    let (selection, format) = arguments.objects.scope(arguments.verbose);
    let options = arguments.options();
    run_command(command_sources(arguments.settings), |config| {
        rewrap(config, selection, format, options)
    })
}

fn run_migrate(arguments: MigrateArguments) -> ExitCode {
    let (selection, format) = arguments.objects.scope(arguments.verbose);
    let options = arguments.options();
    run_command(command_sources(arguments.settings), |config| {
        migrate(config, selection, format, options)
    })
}

fn run_decrypt(arguments: DecryptArguments) -> ExitCode {
    let task = match arguments.task() {
        Ok(task) => task,
        Err(error) => return not_started(&error),
    };
    let (selection, format) = arguments.objects.scope(arguments.verbose);
    let version = arguments.version_id;
    run_command(reading_sources(arguments.settings), |config| async {
        match task {
            DecryptTask::One(object, output) => decrypt_one(config, object, version, output).await,
            DecryptTask::Many(options) => decrypt(config, selection, format, options).await,
        }
    })
}

fn run_recover(arguments: RecoverArguments) -> ExitCode {
    let options = match arguments.options() {
        Ok(options) => options,
        Err(error) => return not_started(&error),
    };
    let mut sources = reading_sources(arguments.settings);
    if let Some(path) = arguments.kek_file {
        sources = sources.secret_file(path);
    }
    if options.key_text.is_some() {
        // The configuration must contain a key; the placeholder gives way to the given one.
        sources = without_keys(sources);
    }
    run_command(sources, |config| recover(config, options))
}

fn run_sweep(arguments: SweepArguments) -> ExitCode {
    let options = arguments.options();
    // There is no listener, so no certificate needs to exist.
    let sources = Sources::new(arguments.settings, std::env::vars_os()).preset("listen.tls", "off");
    run_command(without_keys(sources), |config| {
        sweep(config, options, |line| println!("{line}"))
    })
}

fn run_check_config(arguments: CheckConfigArguments) -> ExitCode {
    let reach = if arguments.online {
        CheckScope::Online
    } else {
        CheckScope::Local
    };
    let sources = Sources::new(arguments.settings, std::env::vars_os());
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => return invalid(&problems),
    };
    match runtime() {
        Ok(runtime) => exit(runtime.block_on(check_config(loaded, reach))),
        Err(error) => not_started(&error),
    }
}

fn run_completions(arguments: &CompletionsArguments) -> ExitCode {
    exit(cli::manual::completions(arguments.shell, &mut io::stdout()))
}

fn run_man(arguments: &ManArguments) -> ExitCode {
    let written = cli::manual::pages(&arguments.output);
    let folder = arguments.output.display();
    exit(written.map(|pages| println!("{} pages in {folder}", pages.len())))
}

/// Returns the sources of a command without listener: TLS off, and a quiet log.
fn command_sources(flags: impl Into<SettingFlags>) -> Sources {
    Sources::new(flags, std::env::vars_os())
        .preset("listen.tls", "off")
        // Port 0 never equals the backend's port, so the backend is not mistaken for this listener.
        .preset("listen.port", "0")
        .preset("log.level", "warn")
}

/// Returns the sources of a command that opens objects and seals none: any passphrase may be the
/// key.
fn reading_sources(flags: impl Into<SettingFlags>) -> Sources {
    command_sources(flags).preset("keys.short_passphrase", "allow")
}

/// Presets a placeholder key for commands that open nothing, so that none need be configured. It is
/// the active key, even next to keys at key services.
fn without_keys(sources: Sources) -> Sources {
    let unused = Kek::generate().to_configured();
    sources
        .preset("keys.encrypt_key", unused.as_str())
        .preset("keys.active", "encrypt_key")
}

/// Runs an operator's command to its end.
fn run_command<C, F>(sources: Sources, command: C) -> ExitCode
where
    C: FnOnce(Config) -> F,
    F: Future<Output = Result<CommandEnd, StartError>>,
{
    run(sources, |loaded| async {
        let end = command(loaded.config).await?;
        Ok(ExitCode::from(end.status()))
    })
}

/// Loads the configuration, starts logging, and runs `program` to its end.
fn run<P, F>(sources: Sources, program: P) -> ExitCode
where
    P: FnOnce(LoadedConfig) -> F,
    F: Future<Output = Result<ExitCode, StartError>>,
{
    match runtime() {
        Ok(runtime) => {
            let ended = run_on(&runtime, sources, |loaded, _| program(loaded));
            ended.unwrap_or_else(|(error, _)| not_started(&error))
        }
        Err(error) => not_started(&error),
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// Works as [`run`], but leaves reporting the error of `program` to the caller, with the form of
/// the log.
fn run_on<P, F>(
    runtime: &Runtime,
    sources: Sources,
    program: P,
) -> Result<ExitCode, (StartError, LogForm)>
where
    P: FnOnce(LoadedConfig, LogLevels) -> F,
    F: Future<Output = Result<ExitCode, StartError>>,
{
    // Before there is a log: problems of the configuration go to standard error as text.
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => return Ok(invalid(&problems)),
    };
    let (levels, written) = match telemetry::init(loaded.config.log) {
        Ok(set_up) => set_up,
        Err(error) => return Ok(not_started(&error)),
    };
    for notice in &loaded.notices {
        notice.log();
    }
    let ended = runtime.block_on(program(loaded, levels));
    ended.map_err(|error| (error, written))
}

/// Returns the exit status of a command that is done at once.
fn exit<E: Display>(done: Result<(), E>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started(&error),
    }
}

fn not_started(error: &dyn Display) -> ExitCode {
    eprintln!("s3proxy: {error}");
    ExitCode::from(EXIT_NOT_STARTED)
}

/// Reports mistakes in the configuration, each of which is a line of its own.
fn invalid(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(EXIT_NOT_STARTED)
}

/// Resolves on SIGTERM (orchestrators) or SIGINT (terminals).
fn stop_signal() -> Result<impl Future<Output = ()>, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Works as [`stop_signal`], and also resolves when the terminal closes.
#[cfg(feature = "dev")]
fn stop_or_hangup_signal() -> Result<impl Future<Output = ()>, StartError> {
    let stop = stop_signal()?;
    let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Signal)?;
    Ok(async move {
        tokio::select! {
            () = stop => {}
            _ = hangup.recv() => {}
        }
    })
}
