//! Guides of the commands: examples and the other sections of help after the options.

use super::guide::Guide;

/// Guides by command; that of `serve` is also the program's own.
pub(super) const ALL: &[(&str, &Guide)] = &[
    ("serve", &SERVE),
    #[cfg(feature = "dev")]
    ("dev", &DEV),
    ("health", &HEALTH),
    ("keygen", &KEYGEN),
    ("inspect", &INSPECT),
    ("verify", &VERIFY),
    ("rewrap", &REWRAP),
    ("migrate", &MIGRATE),
    ("decrypt", &DECRYPT),
    ("recover", &RECOVER),
    ("sweep", &SWEEP),
    ("check-config", &CHECK_CONFIG),
    ("completions", &COMPLETIONS),
    ("man", &MAN),
];

const DONE: (&str, &str) = ("0", "Success");
const NOT_STARTED: (&str, &str) = ("1", "The command could not start");
const USAGE: (&str, &str) = ("2", "Wrong arguments");
const INCOMPLETE: (&str, &str) = ("3", "Some objects failed, or could not be listed");
const INTERRUPTED: (&str, &str) = (
    "130, 143",
    "Stopped by SIGINT or SIGTERM; the last line shows how to resume",
);

const OBJECT_STATUSES: &[(&str, &str)] = &[DONE, NOT_STARTED, USAGE, INCOMPLETE, INTERRUPTED];

const STREAMS: &str = "Results go to standard output, progress to standard error. docs/commands.md \
    lists the fields of --json.";

pub(super) const SERVE: Guide = Guide {
    notes: &[],
    examples: &[
        "s3proxy --config /etc/s3proxy/config.toml --level debug",
        "s3proxy --no-tls --ip 127.0.0.1 --port 8080 --backend http://seaweedfs:8333",
        "S3PROXY_HOST=https://s3.example.com \\\n    \
         S3PROXY_ENCRYPT_KEY_FILE=/run/secrets/key s3proxy",
    ],
    statuses: &[],
    closing: &[
        "Every setting can be given in the environment or the configuration file, secrets only \
         there: docs/configuration.md.",
    ],
};

#[cfg(feature = "dev")]
pub(super) const DEV: Guide = Guide {
    notes: &["Plain HTTP on loopback. The key is kept beside the data: not for real data."],
    examples: &["s3proxy dev", "s3proxy dev ./objects --port 9000"],
    statuses: &[],
    closing: &[],
};

pub(super) const HEALTH: Guide = Guide {
    notes: &[
        "Asks the proxy on this machine for /healthz, or for /readyz with --ready: at the admin \
         address if there is one, otherwise at the S3 port. The proxy's certificate is not \
         verified. Give the command the same flags, environment and file as the proxy; flags of \
         `s3proxy serve` that are not listed here are ignored.",
    ],
    examples: &[
        "s3proxy health",
        "s3proxy health --ready",
        "s3proxy health --no-tls --port 8080",
        "s3proxy health --admin 127.0.0.1:9090",
    ],
    statuses: &[
        ("0", "Healthy: the proxy answered 200"),
        ("1", "Not healthy, or no answer"),
        USAGE,
    ],
    closing: &[],
};

pub(super) const KEYGEN: Guide = Guide {
    notes: &["Keep a copy of the key in a safe place: without it all objects are lost."],
    examples: &[
        "(umask 077; s3proxy keygen > s3proxy.key)",
        "S3PROXY_ENCRYPT_KEY_FILE=s3proxy.key s3proxy",
    ],
    statuses: &[],
    closing: &[],
};

pub(super) const INSPECT: Guide = Guide {
    notes: &[
        "Sends one HEAD request for each object. Nothing is decrypted, so metadata is shown as it \
         is stored; `s3proxy verify` checks whether it is authentic.",
    ],
    examples: &[
        "s3proxy inspect photos",
        "s3proxy inspect --versions --summary photos/2024/ backups",
        "s3proxy inspect --key photos/2024/cat.jpg",
        "s3proxy inspect --json photos | jq 'select(.all_zero_key)'",
    ],
    statuses: OBJECT_STATUSES,
    closing: &[STREAMS],
};

pub(super) const VERIFY: Guide = Guide {
    notes: &[
        "Reads and decrypts whole objects as a client would, discards the content, and compares \
         the checksums stored with them. Plaintext objects are counted and not read.",
    ],
    examples: &[
        "s3proxy verify photos",
        "s3proxy verify --heads --versions photos backups",
        "s3proxy verify --key photos/2024/cat.jpg --verbose",
    ],
    statuses: OBJECT_STATUSES,
    closing: &[STREAMS],
};

pub(super) const REWRAP: Guide = Guide {
    notes: &[
        "The backend copies each object onto itself with new metadata, unless the object has \
         changed in the meantime. Clients may keep reading and writing. Objects that already use \
         the right key are skipped, so the command can be repeated.",
        "In a versioned bucket each copy is a new version. Old versions stay under the old key \
         unless --delete-old-versions is given; --versions counts them.",
        "The summary names every key that is still needed, also by uploads in progress. Remove a \
         key only when it is no longer named.",
        "--check looks at everything a second time, compares the uploads before and after, and \
         exits with 4 if another key is or may be needed. A request that began before the proxies \
         loaded the new key may store its object late: --replica asks the proxies for such requests.",
    ],
    examples: &[
        "s3proxy rewrap --dry-run photos",
        "s3proxy rewrap photos backups",
        "s3proxy rewrap --versions --check --replica s3proxy-admin:9090 photos &&\n    \
         echo the old key can go",
    ],
    statuses: &[
        DONE,
        NOT_STARTED,
        USAGE,
        INCOMPLETE,
        (
            "4",
            "With --check: done, and another key is or may be needed",
        ),
        INTERRUPTED,
    ],
    closing: &[STREAMS],
};

pub(super) const MIGRATE: Guide = Guide {
    notes: &[
        "Plaintext objects and objects of older proxies are read, encrypted with new data keys, and \
         stored in place, unless they have changed in the meantime. Clients may keep reading and \
         writing through s3proxy. Objects in format v1 are skipped, so the command can be repeated.",
        "In a versioned bucket the old version stays readable as it was, unless \
         --delete-old-versions is given. docs/migration.md has the order of steps, and explains \
         the all-zero key.",
    ],
    examples: &[
        "s3proxy inspect --summary photos",
        "s3proxy migrate --dry-run photos",
        "s3proxy migrate photos backups/2024/",
        "s3proxy migrate --only zero-key --delete-old-versions photos",
    ],
    statuses: OBJECT_STATUSES,
    closing: &[STREAMS],
};

pub(super) const DECRYPT: Guide = Guide {
    notes: &[
        "Writes one object to a file, or stores many as plaintext, in place or elsewhere. The file \
         gets its name when it is complete. With --to, objects that exist already are skipped, so \
         the command can be repeated.",
    ],
    examples: &[
        "s3proxy decrypt photos/2024/cat.jpg --output cat.jpg",
        "s3proxy decrypt backups/etc.tar --output - | tar t",
        "s3proxy decrypt photos --to photos-plain",
        "s3proxy decrypt photos/2024/ --in-place --dry-run",
    ],
    statuses: OBJECT_STATUSES,
    closing: &[STREAMS],
};

pub(super) const RECOVER: Guide = Guide {
    notes: &[
        "Needs neither network nor storage, and uses local keys only. Takes the same input as \
         recover/s3proxy_recover.py. Encrypted user metadata is printed.",
    ],
    examples: &[
        "aws s3api get-object --bucket photos --key 2024/cat.jpg \\\n    \
         cat.stored > cat.json",
        "s3proxy recover --stored cat.stored --metadata cat.json \\\n    \
         --key 2024/cat.jpg --out cat.jpg",
        "s3proxy recover --stored cat.stored --envelope s3p1.… \\\n    \
         --key 2024/cat.jpg --kek-file kek.txt --out cat.jpg",
    ],
    statuses: &[
        ("0", "The file was written"),
        ("1", "The configuration is wrong"),
        USAGE,
        ("3", "The object was refused"),
    ],
    closing: &[],
};

pub(super) const SWEEP: Guide = Guide {
    notes: &[
        "During a multipart upload the proxy keeps state beside the data, under \
         policy.state_prefix. The state is left over when the upload ends without the proxy: by a \
         lifecycle rule, or in a crash. The backend is asked about each upload, and only state of \
         uploads that have ended is deleted. With policy.state_bucket, the uploads of all buckets \
         are checked.",
    ],
    examples: &[
        "s3proxy sweep --config /etc/s3proxy/config.toml --dry-run",
        "s3proxy sweep --bucket photos --bucket backups",
        "s3proxy sweep --bucket photos --older-than 0s",
    ],
    statuses: &[
        DONE,
        NOT_STARTED,
        USAGE,
        ("3", "A bucket could not be swept, or an object not deleted"),
    ],
    closing: &[],
};

pub(super) const CHECK_CONFIG: Guide = Guide {
    notes: &[
        "Reads the same flags, environment and file as `s3proxy serve`, and tries certificates, keys \
         and credentials as it does. Only the ports are left alone: a running proxy may have them.",
        "With --online, the backend has to answer and to accept the credential, and every key service \
         has to work.",
    ],
    examples: &[
        "s3proxy check-config --config /etc/s3proxy/config.toml",
        "s3proxy check-config --online",
    ],
    statuses: &[
        ("0", "`s3proxy serve` would start"),
        ("1", "It would not"),
        USAGE,
    ],
    closing: &[],
};

pub(super) const COMPLETIONS: Guide = Guide {
    notes: &[],
    examples: &[
        "s3proxy completions bash > /etc/bash_completion.d/s3proxy",
        "s3proxy completions zsh > \"${fpath[1]}/_s3proxy\"",
        "s3proxy completions fish > ~/.config/fish/completions/s3proxy.fish",
    ],
    statuses: &[],
    closing: &[],
};

pub(super) const MAN: Guide = Guide {
    notes: &["Writes s3proxy.1, and s3proxy-COMMAND.1 for each command."],
    examples: &[
        "s3proxy man --output /usr/local/share/man/man1",
        "man s3proxy-rewrap",
    ],
    statuses: &[],
    closing: &[],
};
