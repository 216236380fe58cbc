//! `s3proxy keygen`: prints a new encryption key.

use std::io::{self, Write};

use s3proxy_envelope::kek::Kek;

/// Generates a key. Writes only the key to `output`, so that it can be redirected, and the
/// instructions to `notes`.
pub fn keygen(output: &mut dyn Write, notes: &mut dyn Write) -> io::Result<()> {
    write_key(&Kek::generate().to_configured(), output, notes)
}

fn write_key(key: &str, output: &mut dyn Write, notes: &mut dyn Write) -> io::Result<()> {
    writeln!(output, "{key}")?;
    output.flush()?;
    writeln!(
        notes,
        "This key encrypts and decrypts every object. Keep a copy in a safe place: without it all \
         objects are lost.\nGive it to the proxy in S3PROXY_ENCRYPT_KEY, or put it in a file and \
         name the file in S3PROXY_ENCRYPT_KEY_FILE."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_is_written_to_the_output() {
        let (mut output, mut notes) = (Vec::new(), Vec::new());
        write_key("s3pk1.example", &mut output, &mut notes).unwrap();
        assert_eq!(output, b"s3pk1.example\n");
        let notes = String::from_utf8(notes).unwrap();
        assert!(notes.contains("S3PROXY_ENCRYPT_KEY_FILE"));
        assert!(!notes.contains("s3pk1"));
    }
}
