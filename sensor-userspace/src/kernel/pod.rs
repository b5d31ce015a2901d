//! Structures of sensor-common as map keys and values.

/// A shared structure as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Pod<T: Copy>(pub T);

// SAFETY: the structures of sensor-common are plain integers without padding that matters.
unsafe impl<T: Copy + 'static> aya::Pod for Pod<T> {}
