//! The binary: each command as a list of steps.

use std::future::Future;
use std::io;
use std::process::ExitCode;

use s3proxy::app::check::{Reach, check};
use s3proxy::app::{self, App, Reload, StartError};
use s3proxy::cli::health::Question;
use s3proxy::cli::migration::Decryption;
use s3proxy::cli::{self, Command};
use s3proxy::commands::sweep::{self, Asked, Mode, Nameless, Swept};
use s3proxy::commands::verify::Reading;
use s3proxy::commands::{Format, decrypt, decrypt_one, inspect, migrate, recover, rewrap, verify};
use s3proxy::config::{self, Loaded, ScopedFlags, Serving, SettingFlags, Sources};
use s3proxy::telemetry::{self, LogForm, LogLevels};
use s3proxy_envelope::kek::Kek;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

/// Allocator that returns memory to the system after a peak (docs/adr/0011-jemalloc.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit status if the configuration or the environment is wrong: nothing was started.
const EXIT_NOT_STARTED: u8 = 1;

/// Exit status if the work was done only in part. Wrong arguments are 2.
const EXIT_INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    // First of all: from here on secrets may be in memory.
    if let Err(error) = telemetry::forbid_core_dumps() {
        eprintln!("warning: {error}");
    }
    match cli::parse(std::env::args_os()) {
        Command::Serve(flags) => serve(flags),
        #[cfg(feature = "dev")]
        Command::Dev(dev) => develop(dev),
        Command::Health(arguments) => health(arguments),
        Command::Keygen => keygen(),
        Command::Inspect(arguments) => inspect(arguments),
        Command::Verify(arguments) => verify(arguments),
        Command::Rewrap(arguments) => rewrap(arguments),
        Command::Migrate(arguments) => migrate(arguments),
        Command::Decrypt(arguments) => decrypt(arguments),
        Command::Recover(arguments) => recover(arguments),
        Command::Sweep(arguments) => sweep(arguments),
        Command::CheckConfig(arguments) => check_config(arguments),
        Command::Completions(arguments) => completions(&arguments),
        Command::Man(arguments) => man(&arguments),
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
        let app = app.asking_the_backend();
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
fn develop(dev: cli::Dev) -> ExitCode {
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

fn health(arguments: cli::health::Health) -> ExitCode {
    let question = if arguments.ready {
        Question::Ready
    } else {
        Question::Alive
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
    match runtime.block_on(cli::health::ask(&addresses, question)) {
        Ok(said) => {
            print!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => not_started(&error),
    }
}

fn keygen() -> ExitCode {
    let key = Kek::generate().to_configured();
    match cli::keygen(&key, &mut io::stdout(), &mut io::stderr()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started(&error),
    }
}

fn inspect(arguments: cli::objects::Inspect) -> ExitCode {
    let sources = without_keys(command_sources(arguments.settings));
    let selection = arguments.objects.selection();
    let format = arguments.objects.format(if arguments.summary {
        Format::Lines
    } else {
        Format::AllLines
    });
    run(sources, |loaded| async {
        let mut output = anstream::stdout();
        let ended = inspect::inspect(loaded.config, selection, format, &mut output).await?;
        Ok(ExitCode::from(ended.status()))
    })
}

fn verify(arguments: cli::objects::Verify) -> ExitCode {
    let selection = arguments.objects.selection();
    let format = arguments
        .objects
        .format(cli::objects::lines(arguments.verbose));
    let reading = if arguments.heads {
        Reading::Heads
    } else {
        Reading::Bodies
    };
    run(reading_sources(arguments.settings), |loaded| async move {
        let ended = verify::verify(loaded.config, selection, format, reading).await?;
        Ok(ExitCode::from(ended.status()))
    })
}

fn rewrap(arguments: cli::objects::Rewrap) -> ExitCode {
    let selection = arguments.objects.selection();
    let format = arguments
        .objects
        .format(cli::objects::lines(arguments.verbose));
    let asked = arguments.asked();
    run(command_sources(arguments.settings), |loaded| async move {
        let ended = rewrap::rewrap(loaded.config, selection, format, asked).await?;
        Ok(ExitCode::from(ended.status()))
    })
}

fn migrate(arguments: cli::migration::Migrate) -> ExitCode {
    let selection = arguments.objects.selection();
    let format = arguments
        .objects
        .format(cli::objects::lines(arguments.verbose));
    let asked = arguments.asked();
    run(command_sources(arguments.settings), |loaded| async move {
        let ended = migrate::migrate(loaded.config, selection, format, asked).await?;
        Ok(ExitCode::from(ended.status()))
    })
}

fn decrypt(arguments: cli::migration::Decrypt) -> ExitCode {
    let asked = match arguments.asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("s3proxy: {error}");
            return ExitCode::from(EXIT_NOT_STARTED);
        }
    };
    let selection = arguments.objects.selection();
    let format = arguments
        .objects
        .format(cli::objects::lines(arguments.verbose));
    let version = arguments.version_id;
    run(reading_sources(arguments.settings), |loaded| async move {
        let ended = match asked {
            Decryption::One(object, output) => {
                decrypt_one::decrypt_one(loaded.config, object, version, output).await?
            }
            Decryption::Many(asked) => {
                decrypt::decrypt(loaded.config, selection, format, asked).await?
            }
        };
        Ok(ExitCode::from(ended.status()))
    })
}

fn recover(arguments: cli::migration::Recover) -> ExitCode {
    let asked = match arguments.asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("s3proxy: {error}");
            return ExitCode::from(EXIT_NOT_STARTED);
        }
    };
    let mut sources = reading_sources(arguments.settings);
    if let Some(path) = arguments.kek_file {
        sources = sources.secret_file(path);
    }
    if asked.key_text.is_some() {
        // The configuration must contain a key; the placeholder gives way to the given one.
        sources = without_keys(sources);
    }
    run(sources, |loaded| async move {
        let ended = recover::recover(loaded.config, asked).await?;
        Ok(ExitCode::from(ended.status()))
    })
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

fn sweep(arguments: cli::Sweep) -> ExitCode {
    // There is no listener, so no certificate needs to exist.
    let sources = Sources::new(arguments.settings, std::env::vars_os()).preset("listen.tls", "off");
    let sources = without_keys(sources);
    let asked = Asked {
        buckets: arguments.buckets,
        older_than: arguments.older_than,
        mode: if arguments.dry_run {
            Mode::Show
        } else {
            Mode::Remove
        },
        nameless: if arguments.by_list {
            Nameless::ByList
        } else {
            Nameless::Stay
        },
    };
    run(sources, |loaded| async {
        let swept = sweep::sweep(loaded.config, asked, |line| println!("{line}")).await?;
        Ok(match swept {
            Swept::Everything => ExitCode::SUCCESS,
            Swept::NotEverything => ExitCode::from(EXIT_INCOMPLETE),
        })
    })
}

fn check_config(arguments: cli::CheckConfig) -> ExitCode {
    let sources = Sources::new(arguments.settings, std::env::vars_os());
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(EXIT_NOT_STARTED);
        }
    };
    for notice in &loaded.notices {
        eprintln!("{}: {notice}", notice.heading());
    }
    let reach = if arguments.online {
        Reach::Online
    } else {
        Reach::Local
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return not_started(&error),
    };
    match runtime.block_on(check(loaded.config, reach)) {
        Ok(remarks) => {
            for warning in remarks.warnings {
                eprintln!("warning: {warning}");
            }
            for note in remarks.notes {
                println!("{note}");
            }
            println!("The configuration is valid.");
            ExitCode::SUCCESS
        }
        Err(error) => not_started(&error),
    }
}

fn completions(arguments: &cli::Completions) -> ExitCode {
    match cli::manual::completions(arguments.shell, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => not_started(&error),
    }
}

fn man(arguments: &cli::Man) -> ExitCode {
    match cli::manual::pages(&arguments.output) {
        Ok(written) => {
            println!("{} pages in {}", written.len(), arguments.output.display());
            ExitCode::SUCCESS
        }
        Err(error) => not_started(&error),
    }
}

/// Loads the configuration, starts logging, and runs `program` to its end.
fn run<P, F>(sources: Sources, program: P) -> ExitCode
where
    P: FnOnce(Loaded) -> F,
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
    P: FnOnce(Loaded, LogLevels) -> F,
    F: Future<Output = Result<ExitCode, StartError>>,
{
    // Before there is a log: problems of the configuration go to standard error as text.
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::from(EXIT_NOT_STARTED));
        }
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

fn not_started(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("s3proxy: {error}");
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
