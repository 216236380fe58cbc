//! Settings from flags, which clap gets from the declarations.
//!
//! Flags give text, which is validated in the same place as that of file and environment. Secrets
//! have no flags, since other users of a machine can read the arguments of a process. Each command
//! offers the flags of the settings that it reads ([`super::scope`]).

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use zeroize::Zeroizing;

use super::declare::{Declaration, Default, Flag, Sensitivity};
use super::environment::CONFIG_VARIABLE;
use super::gather::{Findings, Layer, declared, entry};
use super::notice::Notice;
use super::problem::{Fault, Origin, near};
use super::scope::{Offer, Scope};
use super::settings::{self, former};
use super::value::RawValue;

const CONFIG: &str = "config";
const SET: &str = "set";
const ALLOW_MULTIPART: &str = "allow-multipart";

/// Number of columns for short help, so that no default is broken over two lines.
const SHORT_HELP: usize = 48;

/// The setting for which the older proxies had `--allow-multipart`.
const MULTIPART_PATH: &str = "policy.multipart";

/// Settings that were given as flags.
#[derive(Clone, Default)]
pub struct SettingFlags {
    pub(super) file: Option<PathBuf>,
    pub(super) allow_multipart: AllowMultipart,
    /// Name of the flag, path of the setting, and text.
    given: Vec<(&'static str, &'static str, String)>,
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum AllowMultipart {
    Given,
    #[default]
    Absent,
}

impl SettingFlags {
    /// Converts the flags to a layer; `--set` takes precedence over the flag of the same setting.
    pub(super) fn layer(self, findings: &mut Findings) -> Layer {
        let mut layer = Layer::new();
        for (flag, path, text) in self.given {
            layer.insert(path.to_owned(), plain(text, flag.to_owned()));
        }
        // After the flags, so that `--set` wins.
        for assignment in self.set {
            let (path, text) = assignment.split_once('=').unwrap_or((&assignment, ""));
            let today = former::path(path);
            if let Some(today) = today {
                findings.notice(Notice::FormerName {
                    name: path.to_owned(),
                    today: today.to_owned(),
                });
            }
            let path = today.unwrap_or(path);
            match settable(path) {
                Ok(()) => {
                    let entry = plain(text.to_owned(), format!("{SET} {path}"));
                    layer.insert(path.to_owned(), entry);
                }
                Err(fault) => findings.problem(path, Some(Origin::Flag(SET.to_owned())), fault),
            }
        }
        layer
    }
}

fn plain(text: String, flag: String) -> super::gather::Entry {
    entry(RawValue::Text(Zeroizing::new(text)), Origin::Flag(flag))
}

fn settable(path: &str) -> Result<(), Fault> {
    let known = settings::all().filter(|declaration| {
        declaration.sensitivity != Sensitivity::Secret && !declaration.path.contains("[]")
    });
    match declared(path) {
        Some(declaration) if declaration.sensitivity == Sensitivity::Secret => {
            Err(Fault::Conflict(format!(
                "a secret cannot be given on the command line, where other users could read it; \
                 set it by {}",
                declaration.places()
            )))
        }
        Some(declaration) if !declaration.path.contains("[]") => Ok(()),
        Some(_) | None => Err(Fault::Unknown {
            near: near(path, known.map(|known| known.path)),
        }),
    }
}

impl SettingFlags {
    fn from_matches(matches: &ArgMatches) -> Self {
        let given = settings::all().filter_map(|declaration| {
            let (name, yes, no) = match declaration.flag {
                Flag::None => return None,
                Flag::Value { name, .. } => (name, None, None),
                Flag::Switch { name, yes, no, .. } => (name, Some(yes), Some(no)),
            };
            let text = match text(matches, name)? {
                "true" => yes.unwrap_or("true"),
                "false" => no.unwrap_or("false"),
                text => text,
            };
            Some((name, declaration.path, text.to_owned()))
        });
        let allow_multipart = match text(matches, ALLOW_MULTIPART) {
            None | Some("false") => AllowMultipart::Absent,
            Some(_) => AllowMultipart::Given,
        };
        Self {
            file: matches.get_one::<PathBuf>(CONFIG).cloned(),
            allow_multipart,
            given: given.collect(),
            set: matches
                .get_many::<String>(SET)
                .unwrap_or_default()
                .cloned()
                .collect(),
        }
    }
}

/// Returns the value of a flag that the command may not have.
fn text<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    let value = matches.try_get_one::<String>(name).ok().flatten();
    value.map(String::as_str)
}

/// Flags of the settings that a command reads, for `#[command(flatten)]`.
pub struct ScopedFlags<S> {
    flags: SettingFlags,
    scope: PhantomData<S>,
}

impl<S> From<ScopedFlags<S>> for SettingFlags {
    fn from(scoped: ScopedFlags<S>) -> Self {
        scoped.flags
    }
}

impl<S: Scope> FromArgMatches for ScopedFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let flags = SettingFlags::from_matches(matches);
        for assignment in &flags.set {
            let path = assignment.split('=').next().unwrap_or_default();
            if let (Some(_), Offer::Refused(reason)) = (declared(path), S::offer(path)) {
                let message = format!("--{SET} {path} has no effect here: the command {reason}");
                return Err(clap::Error::raw(ErrorKind::ArgumentConflict, message));
            }
        }
        Ok(Self {
            flags,
            scope: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: Scope> Args for ScopedFlags<S> {
    fn augment_args(command: Command) -> Command {
        let mut command = command
            .arg(
                Arg::new(CONFIG)
                    .long(CONFIG)
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help_heading(CONFIGURATION)
                    .help("Configuration file in TOML")
                    .long_help(format!(
                        "Configuration file in TOML\n[env: {CONFIG_VARIABLE}]"
                    )),
            )
            .arg(
                Arg::new(SET)
                    .long(SET)
                    .value_name("SETTING=VALUE")
                    .action(ArgAction::Append)
                    .help_heading(CONFIGURATION)
                    .help("Any other setting except secrets")
                    .long_help(
                        "Any other setting except secrets, such as backend.retry_attempts=5; \
                         repeatable",
                    ),
            );
        for declaration in settings::all() {
            let offer = S::offer(declaration.path);
            if let Some(argument) = argument(declaration, S::preset(declaration.path)) {
                command = offer.add(command, argument.help_heading(heading::<S>(declaration)));
            }
        }
        let allow_multipart = switch(Arg::new(ALLOW_MULTIPART).long(ALLOW_MULTIPART))
            .help_heading("Older proxies")
            .help("No effect: multipart uploads are always encrypted");
        S::offer(MULTIPART_PATH).add(command, allow_multipart)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Offer {
    fn add(self, command: Command, argument: Arg) -> Command {
        match self {
            Self::Shown => command.arg(argument),
            Self::Hidden => command.arg(argument.hide(true)),
            Self::Refused(_) => command,
        }
    }
}

/// Why a command does not take a flag that gives a setting to others; `flag` with its dashes.
#[must_use]
pub fn refusal<S: Scope>(flag: &str) -> Option<&'static str> {
    let name = flag.strip_prefix("--")?;
    let with_flag = settings::all().find(|declaration| match declaration.flag {
        Flag::None => false,
        Flag::Value { name: known, .. } | Flag::Switch { name: known, .. } => known == name,
    });
    let path = match with_flag {
        Some(declaration) => declaration.path,
        None if name == ALLOW_MULTIPART => MULTIPART_PATH,
        None => return None,
    };
    match S::offer(path) {
        Offer::Refused(reason) => Some(reason),
        Offer::Shown | Offer::Hidden => None,
    }
}

const CONFIGURATION: &str = "Configuration";

/// Returns the heading of a flag; a command with few settings has them all under one.
fn heading<S: Scope>(declaration: &Declaration) -> &'static str {
    let section = settings::SECTIONS
        .iter()
        .find(|section| section.name == declaration.section());
    match section {
        Some(section) if S::HAS_SECTIONS => section.title,
        Some(_) | None => CONFIGURATION,
    }
}

fn argument(declaration: &'static Declaration, preset: Option<&'static str>) -> Option<Arg> {
    match declaration.flag {
        Flag::None => None,
        Flag::Value { name, placeholder } => Some(
            Arg::new(name)
                .long(name)
                .value_name(placeholder)
                .allow_hyphen_values(true)
                .help(short_help(declaration, preset))
                .long_help(long_help(declaration, preset)),
        ),
        Flag::Switch {
            name, help, yes, ..
        } => Some(
            switch(Arg::new(name).long(name))
                .help(help)
                .long_help(format!(
                    "{help}\n[env: {}={yes}]",
                    declaration.variables().collect::<Vec<_>>().join(", "),
                )),
        ),
    }
}

/// Accepts `--flag`, and `--flag=false` as users of the older proxies may have written.
fn switch(argument: Arg) -> Arg {
    argument
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(["true", "false"])
        .hide_possible_values(true)
        .value_name("true|false")
}

/// Returns the first sentence of the documentation, and the default.
fn short_help(declaration: &Declaration, preset: Option<&'static str>) -> String {
    let sentence = sentence(declaration);
    let Some(default) = default(declaration, preset) else {
        return sentence.to_owned();
    };
    let default = format!("[default: {default}]");
    // Room next to the longest flag on a terminal of 80 columns.
    let separator = if sentence.len() + default.len() < SHORT_HELP {
        ' '
    } else {
        '\n'
    };
    format!("{sentence}{separator}{default}")
}

/// Returns the short help with choices and variables, each on their own line.
fn long_help(declaration: &Declaration, preset: Option<&'static str>) -> String {
    let expects = (declaration.expects)();
    let choices = expects
        .contains(" | ")
        .then(|| expects.replace(" | ", ", "));
    let first = [Some(sentence(declaration).to_owned()), choices];
    let first = first.into_iter().flatten().collect::<Vec<_>>().join(": ");
    let names = declaration.variables().collect::<Vec<_>>().join(", ");
    let lines = [
        Some(first),
        (!names.is_empty()).then(|| format!("[env: {names}]")),
        default(declaration, preset).map(|default| format!("[default: {default}]")),
    ];
    lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn sentence(declaration: &Declaration) -> &'static str {
    let documentation = declaration.documentation.trim();
    let sentence = documentation
        .split_once(". ")
        .map_or(documentation, |(first, _)| first);
    sentence.trim_end_matches('.')
}

fn default(declaration: &Declaration, preset: Option<&'static str>) -> Option<&'static str> {
    match declaration.default {
        Default::Text(text) => Some(preset.unwrap_or(text)),
        Default::Absent(_) | Default::Required => preset,
    }
}
