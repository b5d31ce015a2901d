//! The live risk score.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The arithmetic of the article's collector.
    #[default]
    Article,
}
