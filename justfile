# The recipes that people and CI share. `just` alone lists them.

set shell := ["bash", "-euo", "pipefail", "-c"]

_default:
    @just --list

# The proxy on loopback over an embedded store
dev *arguments:
    cargo run -- dev {{ arguments }}

# Unit, vector, property and snapshot tests: the README's test command
test:
    cargo test --workspace

# Formatting and lints
check:
    cargo fmt --all --check
    cargo fmt --manifest-path fuzz/Cargo.toml --check
    cargo clippy --workspace --all-targets -- -D warnings

# The program as images have it, without the embedded store
check-image-features:
    cargo check --workspace --all-targets --no-default-features

# Licences, duplicates and sources of dependencies; `just audit` adds known vulnerabilities
deny:
    cargo deny --all-features check bans licenses sources
    cp Cargo.lock fuzz/Cargo.lock
    cargo deny --manifest-path fuzz/Cargo.toml check bans licenses sources

# Known vulnerabilities: needs the advisory database, which is fetched from the network
audit:
    cargo deny --all-features check advisories

# Real servers and real clients; arguments go to pytest
e2e *arguments:
    e2e/run {{ arguments }}

# Every fuzz target for so many seconds, or the targets that are named
fuzz seconds="60" *targets:
    fuzz/run {{ seconds }} {{ targets }}

# The Helm chart, the manifests in deploy/, alerts and dashboard; `--update` writes snapshots anew
chart *arguments:
    charts/check {{ arguments }}

# The same before a Kubernetes API server, which is compiled the first time; arguments go to pytest
chart-server *arguments:
    charts/check-server {{ arguments }}

# The recovery script, on the format's vectors and on objects that the crate wrote
recover:
    recover/run-tests

# Throughput, CPU and memory beside nginx; arguments go to the benchmark
bench *arguments:
    bench/run {{ arguments }}

# Writes docs/configuration.md from the declarations of the settings
docs:
    cargo run --quiet -p xtask -- docs

# The image, without a daemon; arguments go to image/build
image *arguments:
    image/build {{ arguments }}

# What is published of a release, into dist/: docs/releasing.md; --rehearsal needs no tag
release *arguments:
    release/build {{ arguments }}
