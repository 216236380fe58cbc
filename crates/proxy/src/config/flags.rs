//! Settings from flags, which clap knows from the declarations.
//!
//! Flags give text, judged where file and environment are judged too. Secrets have none, since
//! other users of a machine can read the arguments of a process.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use zeroize::Zeroizing;

use super::declare::{Declaration, Default, Flag, Sensitivity};
use super::environment::CONFIG_VARIABLE;
use super::gather::{Findings, Layer, declared, entry};
use super::problem::{Fault, Origin, near};
use super::settings;
use super::value::Given;

const CONFIG: &str = "config";
const SET: &str = "set";
const ALLOW_MULTIPART: &str = "allow-multipart";

/// The flags that give settings, for `#[command(flatten)]`.
#[derive(Clone, Default)]
pub struct SettingFlags {
    pub(super) file: Option<PathBuf>,
    pub(super) allow_multipart: AllowMultipart,
    /// The flag's name, the setting's path and the text.
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
    /// What the flags say; `--set` comes before the flag of the same setting.
    pub(super) fn layer(self, findings: &mut Findings) -> Layer {
        let mut layer = Layer::new();
        for (flag, path, text) in self.given {
            layer.insert(path.to_owned(), plain(text, flag.to_owned()));
        }
        for assignment in self.set {
            let (path, text) = assignment.split_once('=').unwrap_or((&assignment, ""));
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
    entry(Given::Text(Zeroizing::new(text)), Origin::Flag(flag))
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

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = settings::all().filter_map(|declaration| {
            let (name, yes, no) = match declaration.flag {
                Flag::None => return None,
                Flag::Value { name, .. } => (name, None, None),
                Flag::Switch { name, yes, no, .. } => (name, Some(yes), Some(no)),
            };
            let text = matches.get_one::<String>(name)?;
            let text = match text.as_str() {
                "true" => yes.unwrap_or("true"),
                "false" => no.unwrap_or("false"),
                text => text,
            };
            Some((name, declaration.path, text.to_owned()))
        });
        let allow_multipart = match matches
            .get_one::<String>(ALLOW_MULTIPART)
            .map(String::as_str)
        {
            None | Some("false") => AllowMultipart::Absent,
            Some(_) => AllowMultipart::Given,
        };
        Ok(Self {
            file: matches.get_one::<PathBuf>(CONFIG).cloned(),
            allow_multipart,
            given: given.collect(),
            set: matches
                .get_many::<String>(SET)
                .unwrap_or_default()
                .cloned()
                .collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let mut command = command
            .arg(
                Arg::new(CONFIG)
                    .long(CONFIG)
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help_heading("Configuration")
                    .help(format!(
                        "Configuration file in TOML [env: {CONFIG_VARIABLE}]"
                    )),
            )
            .arg(
                Arg::new(SET)
                    .long(SET)
                    .value_name("SETTING=VALUE")
                    .action(ArgAction::Append)
                    .help_heading("Configuration")
                    .help("Any setting that is no secret, such as backend.retry_attempts=5"),
            );
        for declaration in settings::all() {
            if let Some(argument) = argument(declaration) {
                command = command.arg(argument);
            }
        }
        command.arg(
            switch(Arg::new(ALLOW_MULTIPART).long(ALLOW_MULTIPART))
                .help_heading("Older proxies")
                .help("Does nothing: multipart uploads are encrypted like any other"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(declaration: &'static Declaration) -> Option<Arg> {
    let argument = match declaration.flag {
        Flag::None => return None,
        Flag::Value { name, placeholder } => Arg::new(name)
            .long(name)
            .value_name(placeholder)
            .allow_hyphen_values(true)
            .help(help(declaration)),
        Flag::Switch {
            name, help, yes, ..
        } => switch(Arg::new(name).long(name)).help(format!(
            "{help} [env: {}={}]",
            declaration.environment.join(", "),
            yes
        )),
    };
    let section = settings::SECTIONS
        .iter()
        .find(|s| s.name == declaration.section());
    Some(argument.help_heading(section.map(|section| section.title)))
}

/// `--flag`, and `--flag=false` as the older proxies' users may have written.
fn switch(argument: Arg) -> Arg {
    argument
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(["true", "false"])
        .hide_possible_values(true)
        .value_name("true|false")
}

/// The first sentence of the documentation, the choices, the variables, the default.
fn help(declaration: &Declaration) -> String {
    let documentation = declaration.documentation.trim();
    let sentence = documentation
        .split_once(". ")
        .map_or(documentation, |(first, _)| first);
    let mut parts = vec![sentence.trim_end_matches('.').to_owned()];
    let expects = (declaration.expects)();
    if expects.contains(" | ") {
        parts[0].push_str(": ");
        parts[0].push_str(&expects);
    }
    if !declaration.environment.is_empty() {
        parts.push(format!("[env: {}]", declaration.environment.join(", ")));
    }
    if let Default::Text(text) = declaration.default {
        parts.push(format!("[default: {text}]"));
    }
    parts.join(" ")
}
