//! The help of every command, as users see it.

use clap::Command;
use s3proxy::cli;

fn help(path: &[&str]) -> String {
    let mut command = cli::description().term_width(100);
    command.build();
    let chosen = path
        .iter()
        .fold(&mut command, |command: &mut Command, name| {
            command
                .find_subcommand_mut(name)
                .expect("the command exists")
        });
    chosen.render_long_help().to_string()
}

#[test]
fn help_without_a_command() {
    insta::assert_snapshot!(help(&[]));
}

#[test]
fn help_of_serve() {
    insta::assert_snapshot!(help(&["serve"]));
}

#[test]
fn help_of_dev() {
    insta::assert_snapshot!(help(&["dev"]));
}

#[test]
fn help_of_health() {
    insta::assert_snapshot!(help(&["health"]));
}

#[test]
fn help_of_keygen() {
    insta::assert_snapshot!(help(&["keygen"]));
}

#[test]
fn help_of_check_config() {
    insta::assert_snapshot!(help(&["check-config"]));
}

#[test]
fn help_of_sweep() {
    insta::assert_snapshot!(help(&["sweep"]));
}

#[test]
fn help_of_inspect() {
    insta::assert_snapshot!(help(&["inspect"]));
}

#[test]
fn help_of_verify() {
    insta::assert_snapshot!(help(&["verify"]));
}

#[test]
fn help_of_rewrap() {
    insta::assert_snapshot!(help(&["rewrap"]));
}

#[test]
fn help_of_migrate() {
    insta::assert_snapshot!(help(&["migrate"]));
}

#[test]
fn help_of_decrypt() {
    insta::assert_snapshot!(help(&["decrypt"]));
}

#[test]
fn help_of_recover() {
    insta::assert_snapshot!(help(&["recover"]));
}
