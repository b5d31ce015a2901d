//! Structures of sensor-common as map keys and values.

use aya::maps::{HashMap, MapData};

/// A shared structure as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Pod<T: Copy>(pub T);

// SAFETY: the structures of sensor-common are plain integers without padding that matters.
unsafe impl<T: Copy + 'static> aya::Pod for Pod<T> {}

/// Removes the entries with these keys.
pub(super) fn remove_where<K: Copy + 'static, V: aya::Pod>(
    map: &mut HashMap<MapData, Pod<K>, V>,
    which: impl Fn(&K) -> bool,
) {
    let keys: Vec<Pod<K>> = map.keys().flatten().filter(|key| which(&key.0)).collect();
    for key in keys {
        let _ = map.remove(&key);
    }
}
