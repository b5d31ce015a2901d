//! The RGT record: one line that holds attempt, verdict, trajectory and risk.

mod attempt;
pub mod canonical;
pub mod envelope;
mod field;
mod recorder;
pub mod scan;
pub mod schema;
pub mod time;

pub use field::Field;
pub(crate) use recorder::event_data;
pub use recorder::{RecordId, Recorder, RecorderOptions};
