//! The help of every command as users see it: short and long, on terminals of 80 and 100 columns.

use clap::Command;
use s3proxy::cli;

const WIDTHS: [usize; 2] = [80, 100];

/// Headings of lists, in which the author breaks the lines.
const LISTS: [&str; 3] = ["Examples:", "Exit status:", "Commands:"];

#[derive(Clone, Copy, Debug)]
enum Form {
    /// `-h`
    Short,
    /// `--help`
    Long,
}

/// The program and its commands by name; `None` is the program itself.
fn commands() -> Vec<Option<String>> {
    let program = cli::description();
    let commands = program.get_subcommands();
    let names = commands.map(|command| Some(command.get_name().to_owned()));
    std::iter::once(None).chain(names).collect()
}

fn help(command: Option<&str>, form: Form, width: usize) -> String {
    let mut program = cli::description().term_width(width);
    program.build();
    let chosen: &mut Command = match command {
        None => &mut program,
        Some(name) => program
            .find_subcommand_mut(name)
            .expect("the command exists"),
    };
    let text = match form {
        Form::Short => chosen.render_help(),
        Form::Long => chosen.render_long_help(),
    };
    text.to_string()
}

fn each_help(mut check: impl FnMut(&str, usize, &str)) {
    for command in commands() {
        for form in [Form::Short, Form::Long] {
            for width in WIDTHS {
                let text = help(command.as_deref(), form, width);
                let name = command.as_deref().unwrap_or("s3proxy");
                check(&format!("{name} {form:?}"), width, &text);
            }
        }
    }
}

#[test]
fn help_of_each_command() {
    for command in commands() {
        let texts = WIDTHS.into_iter().flat_map(|width| {
            let forms = [(Form::Short, "-h"), (Form::Long, "--help")];
            forms.map(|(form, flag)| {
                let text = help(command.as_deref(), form, width);
                // clap pads empty lines.
                let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
                format!("==== {flag} at {width} columns\n\n{}\n", lines.join("\n"))
            })
        });
        let all = texts.collect::<Vec<_>>().join("\n");
        let name = command.as_deref().unwrap_or("program").replace('-', "_");
        insta::assert_snapshot!(format!("help_of_{name}"), all);
    }
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    each_help(|command, width, text| {
        for line in text.lines() {
            let columns = line.trim_end().chars().count();
            assert!(columns <= width, "{command} at {width}: {columns}: {line}");
        }
    });
}

/// If a text was wrapped by hand and again by clap, some lines end early in mid-sentence.
#[test]
fn no_line_ends_before_the_next_word_would_be_too_wide() {
    each_help(|command, width, text| {
        let mut is_list = false;
        let mut lines = text.lines().map(str::trim_end).peekable();
        while let Some(line) = lines.next() {
            is_list = LISTS.contains(&line) || is_list && !line.is_empty();
            let Some(next) = lines.peek() else { break };
            let word = next.split_whitespace().next().unwrap_or_default();
            let is_usage = word == "s3proxy";
            let goes_on = !is_usage && word.starts_with(|first: char| first.is_lowercase());
            if is_list || line.is_empty() || !goes_on {
                continue;
            }
            let needed = line.chars().count() + 1 + word.chars().count();
            assert!(
                needed > width,
                "{command} at {width}: {line:?} before {next:?}"
            );
        }
    });
}

#[test]
fn defaults_stand_in_one_line() {
    each_help(|command, width, text| {
        for line in text.lines() {
            for (_, rest) in ["[default:", "[env:"]
                .map(|part| line.rsplit_once(part))
                .iter()
                .flatten()
            {
                assert!(rest.contains(']'), "{command} at {width}: {line}");
            }
        }
    });
}

#[test]
fn commands_show_only_the_options_that_they_read() {
    let serving = [
        "--ip",
        "--port",
        "--cert",
        "--admin",
        "--no-tls",
        "--auth",
        "--allow-multipart",
    ];
    let elsewhere: &[(&str, &[&str])] = &[
        ("inspect", &serving),
        ("verify", &serving),
        ("rewrap", &serving),
        ("migrate", &serving),
        ("decrypt", &serving),
        (
            "recover",
            &["--port", "--no-tls", "--backend ", "--region", "--kms"],
        ),
        ("sweep", &["--port", "--no-tls", "--kms", "--auth"]),
        (
            "dev",
            &[
                "--backend",
                "--kms",
                "--region",
                "--cert",
                "--allow-multipart",
            ],
        ),
        (
            "health",
            &["--backend", "--kms", "--auth", "--level", "--cert"],
        ),
    ];
    for (command, absent) in elsewhere {
        if !commands().iter().flatten().any(|known| known == command) {
            // The program was built without the feature `dev`.
            continue;
        }
        let text = help(Some(command), Form::Long, 100);
        let text = text.split("Examples:").next().unwrap_or_default();
        for flag in *absent {
            let is_shown = text.lines().any(|line| line.trim_start().starts_with(flag));
            assert!(!is_shown, "{command} {flag}");
        }
    }
    let serve = help(Some("serve"), Form::Long, 100);
    assert!(
        serving
            .iter()
            .all(|flag| serve.contains(&format!("      {flag}"))),
        "{serve}"
    );
}
