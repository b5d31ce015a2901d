//! What a sink needs from the ledger: lines in order, a place that is kept, and the way back to it.

/// One line of the ledger, without its newline.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where the cursor stands once this line is delivered; grows from line to line.
    pub mark: u64,
    pub bytes: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SpoolError(pub String);

/// A named cursor over the ledger.
pub trait Spool: Send {
    /// The next line, or `None` when the sink has read all there is by now.
    fn next(&mut self) -> Result<Option<Line>, SpoolError>;
    /// Everything up to the line with this mark is delivered: a later start begins after it.
    fn commit(&mut self, mark: u64) -> Result<(), SpoolError>;
    /// Back to the line after the last committed one.
    fn rewind(&mut self) -> Result<(), SpoolError>;
}
