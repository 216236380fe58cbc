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
const INCOMPLETE: (&str, &str) = ("3", "Some objects failed or could not be listed");
const INTERRUPTED: (&str, &str) = (
    "130, 143",
    "Interrupted by SIGINT or SIGTERM; the last line shows how to resume",
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
        "Every setting can also be given in the environment or the configuration file; secrets \
         can be given only there. docs/configuration.md lists them.",
    ],
};

#[cfg(feature = "dev")]
pub(super) const DEV: Guide = Guide {
    notes: &[
        "Serves plain HTTP on loopback. The key is stored beside the objects: do not use it for \
         real data.",
    ],
    examples: &["s3proxy dev", "s3proxy dev ./objects --port 9000"],
    statuses: &[],
    closing: &[],
};

pub(super) const HEALTH: Guide = Guide {
    notes: &[
        "Requests /healthz (with --ready: /readyz) from the proxy on this machine, at its admin \
         address if it has one, otherwise at its S3 port. The proxy's certificate is not \
         verified. Give the command the same flags, environment and configuration file as the \
         proxy; flags of `s3proxy serve` that are not listed here are ignored.",
    ],
    examples: &[
        "s3proxy health",
        "s3proxy health --ready",
        "s3proxy health --no-tls --port 8080",
        "s3proxy health --admin 127.0.0.1:9090",
    ],
    statuses: &[
        ("0", "Healthy: the proxy responded with 200"),
        ("1", "Not healthy, or no response"),
        USAGE,
    ],
    closing: &[],
};

pub(super) const KEYGEN: Guide = Guide {
    notes: &["Keep a copy of the key in a safe place: without it, all objects are lost."],
    examples: &[
        "(umask 077; s3proxy keygen > s3proxy.key)",
        "S3PROXY_ENCRYPT_KEY_FILE=s3proxy.key s3proxy",
    ],
    statuses: &[],
    closing: &[],
};

pub(super) const INSPECT: Guide = Guide {
    notes: &[
        "Sends one HEAD request for each object. Nothing is decrypted, so metadata is shown as \
         stored; `s3proxy verify` checks whether it is authentic.",
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
         the checksums that are stored with the objects. Plaintext objects are counted but not \
         read.",
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
        "The summary names every key that is still needed, including by uploads in progress. \
         Remove a key only when the summary no longer names it.",
        "--check examines every object a second time, compares the uploads before and after, and \
         exits with status 4 if another key is or may be needed. A request that began before the \
         proxies loaded the new key may store its object late: --replica asks a proxy whether it \
         still has such requests.",
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
        "Reads plaintext objects and objects of older proxies, encrypts them with new data keys, \
         and stores them in place, unless they have changed in the meantime. Clients may keep \
         reading and writing through s3proxy. Objects in format v1 are skipped, so the command \
         can be repeated.",
        "In a versioned bucket the old version stays readable as before, unless \
         --delete-old-versions is given. docs/migration.md explains the steps of a migration and \
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
         appears under its name only when it is complete. With --to, existing objects are skipped, \
         so the command can be repeated.",
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
        "Uses local files and local keys only, without network or storage. Takes the same input as \
         recover/s3proxy_recover.py. Prints the user metadata that was encrypted.",
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
         policy.state_prefix. If the upload ends without the proxy, by a lifecycle rule or in a \
         crash, its state is left over. The command asks the backend about each upload, and \
         deletes the state of those that have ended. With policy.state_bucket, it checks the \
         uploads of all buckets.",
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
        (
            "3",
            "Some buckets could not be swept, or some objects not deleted",
        ),
    ],
    closing: &[],
};

pub(super) const CHECK_CONFIG: Guide = Guide {
    notes: &[
        "Reads the same flags, environment and file as `s3proxy serve`, and loads certificates, \
         keys and credentials in the same way. It opens no port, since a running proxy may use \
         them.",
        "With --online, the backend must respond and accept the credential, and every key service \
         must work.",
    ],
    examples: &[
        "s3proxy check-config --config /etc/s3proxy/config.toml",
        "s3proxy check-config --online",
    ],
    statuses: &[
        ("0", "`s3proxy serve` would start"),
        ("1", "`s3proxy serve` would not start"),
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
