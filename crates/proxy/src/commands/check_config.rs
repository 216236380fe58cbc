//! `s3proxy check-config`: the checks of [`crate::app::check`], reported line by line.

use crate::app::StartError;
use crate::app::check::check;
use crate::config::LoadedConfig;

pub use crate::app::check::CheckScope;

/// Checks the configuration. Warnings go to standard error, results to standard output.
pub async fn check_config(loaded: LoadedConfig, scope: CheckScope) -> Result<(), StartError> {
    // There is no log, so the notices that the proxy would log are printed.
    for notice in &loaded.notices {
        eprintln!("{}: {notice}", notice.heading());
    }
    let remarks = check(loaded.config, scope).await?;
    for warning in remarks.warnings {
        eprintln!("warning: {warning}");
    }
    for note in remarks.notes {
        println!("{note}");
    }
    println!("The configuration is valid.");
    Ok(())
}
