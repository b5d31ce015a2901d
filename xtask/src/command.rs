//! Running other programs: progress on stderr, and errors that name program, cause and output.

use std::io::{IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Says on stderr what is being done; stdout belongs to results.
pub fn say(what: impl std::fmt::Display) {
    eprintln!("==> {what}");
}

/// Runs a program that shows its own progress; its output goes to our stderr.
pub fn shown(what: &str, command: &mut Command) -> Result<()> {
    say(what);
    let started = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(stderr())
        .status()
        .with_context(|| format!("{what}: cannot run {}", name(command)))?;
    if !status.success() {
        bail!("{what}: {} failed ({status}); its own words are above", name(command));
    }
    if started.elapsed() > Duration::from_secs(2) {
        say(format_args!("{what}: {:.1} s", started.elapsed().as_secs_f32()));
    }
    Ok(())
}

/// Runs a program that is silent or too talkative: a sign of life while it works, its output
/// only in the error.
pub fn quiet(what: &str, command: &mut Command) -> Result<String> {
    say(what);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{what}: cannot run {}", name(command)))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let ticker = ticker(what);
    let status = child.wait()?;
    drop(ticker);
    let out = stdout.join().unwrap_or_default();
    if !status.success() {
        let mut words = stderr.join().unwrap_or_default();
        if words.trim().is_empty() {
            words = out;
        }
        bail!("{what}: {} failed ({status}):\n{}", name(command), tail(&words, 20));
    }
    Ok(out)
}

/// Output of a short program, or nothing if it is absent or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The name of a program for messages.
pub fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Stdio that sends a child's stdout to our stderr.
pub fn stderr() -> Stdio {
    use std::os::fd::AsFd;
    std::io::stderr().as_fd().try_clone_to_owned().map(Stdio::from).unwrap_or_else(|_| Stdio::inherit())
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A read error ends the output like its end does; the exit status decides.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Tells every two seconds (on a terminal; every ten in a log) that work goes on, until dropped.
pub fn ticker(what: &str) -> Ticker {
    let (stop, stopped) = mpsc::channel::<()>();
    let what = what.to_owned();
    let thread = std::thread::spawn(move || {
        let started = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        let every = Duration::from_secs(if terminal { 2 } else { 10 });
        let mut shown = false;
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
            let seconds = started.elapsed().as_secs();
            let mut err = std::io::stderr().lock();
            let _ = if terminal {
                write!(err, "\r    {what}: {seconds} s ")
            } else {
                writeln!(err, "    {what}: {seconds} s")
            };
            shown = true;
        }
        if shown && terminal {
            eprint!("\r\x1b[K");
        }
    });
    Ticker { stop: Some(stop), thread: Some(thread) }
}

/// Ends the signs of life when dropped.
pub struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
