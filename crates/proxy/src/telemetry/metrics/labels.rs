//! Labels of metrics with a closed set of values.
//!
//! The values are part of the program's interface, as the names of metrics are.

/// Declares the values of a label.
macro_rules! label {
    ($(#[$attribute:meta])* $name:ident { $($(#[$documentation:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$documentation])* $value,)+ }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$value),+];

            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}

label! {
    /// Limit that a request can reach.
    Limit {
        Rate = "rate",
        ClientRate = "client_rate",
        InFlight = "in_flight",
        ClientInFlight = "client_in_flight",
        /// No memory for another body became free in time.
        Memory = "memory",
        /// A body was too slow while other requests waited for memory.
        BodyRate = "body_rate",
        /// There were more connections than allowed.
        Connections = "connections",
    }
}

label! {
    /// Reason for closing a connection.
    Eviction {
        /// Another connection needed its place.
        Places = "places",
        /// The heads and forms of requests that are not yet authenticated took too much memory.
        HeadMemory = "head_memory",
        /// The places of the admin listener were taken.
        Admin = "admin",
    }
}

label! {
    /// Reason for which a write failed for lack of a key.
    SealFailure {
        /// The service is unreachable, too slow, or failing inside.
        Service = "key_service",
        /// The service refused the login or the permission.
        Refused = "key_refused",
        /// The key is missing at the service, disabled, or of the wrong kind.
        Unusable = "key_unusable",
    }
}

label! {
    /// Reason for which stored data could not be opened.
    OpenFailure {
        /// Not authentic: altered, or put together from several objects.
        Tampered = "tampered",
        /// The length is impossible: cut or extended.
        Truncated = "truncated",
        /// The envelope, or other metadata about the seal, cannot be parsed.
        Malformed = "malformed",
        /// The wrapped key belongs to another key or object.
        WrongKey = "wrong_key",
        /// No configured key is the one that it was sealed under.
        UnknownKey = "unknown_key",
        /// The key or binding does not open in this place: the object was moved, or the rule does
        /// not list it.
        OtherPlace = "other_place",
        /// The object is an older proxy's, under the all-zero key, which is not allowed.
        ZeroKey = "zero_key",
        KeyService = "key_service",
        KeyRefused = "key_refused",
        KeyUnusable = "key_unusable",
    }
}

label! {
    /// Format of an object that an older proxy wrote.
    LegacyFormat {
        Intrinsec = "intrinsec",
        Constellation = "constellation",
    }
}

label! {
    /// Result of a reload of the configuration.
    ReloadResult {
        Success = "success",
        Failure = "failure",
    }
}

label! {
    /// Reason for sending a request to the backend again.
    RetryReason {
        /// Status 429 or 503.
        SlowDown = "slow_down",
        /// Status 500, 502 or 504.
        ServerError = "server_error",
        Unreachable = "unreachable",
        Timeout = "timeout",
        Broken = "broken",
        Redirect = "redirect",
        Region = "region",
        Clock = "clock",
        Credentials = "credentials",
        /// A read is resumed after it broke.
        Resumed = "resumed",
    }
}

label! {
    /// Kind of key service.
    ServiceKind {
        Vault = "vault",
        AwsKms = "aws_kms",
        Pkcs11 = "pkcs11",
        Constellation = "constellation",
    }
}

label! {
    /// Kind of call to a key service.
    KeyCall {
        /// Make a new KEK.
        Create = "create",
        /// Open a KEK that an envelope carries.
        Open = "open",
        /// Check that the service responds.
        Check = "check",
        /// Fetch the key of an older proxy's objects.
        Legacy = "legacy",
    }
}

label! {
    /// Result of a call to a key service.
    KeyResult {
        Ok = "ok",
        Unavailable = "unavailable",
        /// The service limits the rate of calls.
        Throttled = "throttled",
        Refused = "refused",
        /// The key cannot be used.
        Unusable = "unusable",
        /// The ciphertext is not this key's.
        Unknown = "unknown",
        /// The call was cancelled or timed out.
        CutOff = "cut_off",
    }
}
