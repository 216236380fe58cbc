# Recipes for people and CI. `just` alone lists them.

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
    cargo check --workspace --exclude s3proxy-bench --exclude s3proxy-e2e-client --all-targets --no-default-features

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

# Every fuzz target, or the named ones, for a number of seconds each
fuzz seconds="60" *targets:
    fuzz/run {{ seconds }} {{ targets }}

# The Helm chart, the manifests in deploy/, alerts and dashboard; `--update` rewrites snapshots
chart *arguments:
    charts/check {{ arguments }}

# The same against a Kubernetes API server, which the first run compiles; arguments go to pytest
chart-server *arguments:
    charts/check-server {{ arguments }}

# The recovery script, on the format's vectors and on objects written by the crate
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

# The files of a release, into dist/: docs/releasing.md; --rehearsal needs no tag
release *arguments:
    release/build {{ arguments }}
