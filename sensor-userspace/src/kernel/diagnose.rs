//! What a load on this kernel comes to: everything is loaded, tried, and let go again.

use std::path::Path;

use super::{LoadError, Options, Probe, Sensor, Standing, capture};

/// What a load on this kernel would come to.
pub struct Diagnosis {
    pub standing: Standing,
    pub probes: Vec<Probe>,
    /// Why it could not be tried whether a denial denies, if it could not.
    pub untried: Option<String>,
}

/// `scratch`: an empty cgroup and a file's name, for the trial of a denial.
pub fn diagnose(scratch: Result<(&Path, &Path), String>) -> Result<Diagnosis, LoadError> {
    let mut sensor = Sensor::load(&Options::default())?;
    let mut probes: Vec<Probe> = capture::PROGRAMS
        .iter()
        .map(|name| Probe { name: (*name).to_owned(), kind: "raw tracepoint", trouble: None })
        .collect();
    probes.extend(sensor.hook_probes());
    let tried = scratch.and_then(|(cgroup, file)| sensor.prove(cgroup, file).map_err(|error| error.to_string()));
    Ok(Diagnosis { standing: sensor.standing().clone(), probes, untried: tried.err() })
}
