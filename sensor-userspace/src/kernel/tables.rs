//! What the kernel side reads from maps that never change after the load.

use aya::{
    Ebpf,
    maps::{Array, Queue},
};
use sensor_common::{
    event::MAX_SLOTS,
    syscalls::{MAX_NR, SYSCALLS, Spec},
};

use super::{
    object::{LoadError, borrow, refused},
    pod::Pod,
};

/// Writes the syscall table into the maps that the kernel side reads it from.
pub fn fill(bpf: &mut Ebpf) -> Result<(), LoadError> {
    let mut by_number = vec![[Spec::default(); 2]; MAX_NR as usize];
    let mut by_id: Array<_, Pod<Spec>> = Array::try_from(borrow(bpf, "BY_ID")?).map_err(refused("map BY_ID"))?;
    for (index, row) in SYSCALLS.iter().enumerate() {
        let spec = row.spec(index);
        by_id.set(u32::from(spec.id), Pod(spec), 0).map_err(refused("filling map BY_ID"))?;
        for (abi, number) in [row.nr64, row.nr32].into_iter().enumerate() {
            if let Some(entry) = number.and_then(|number| by_number.get_mut(usize::from(number))) {
                entry[abi] = spec;
            }
        }
    }
    let mut specs: Array<_, Pod<[Spec; 2]>> = Array::try_from(borrow(bpf, "SPECS")?).map_err(refused("map SPECS"))?;
    for (number, spec) in by_number.into_iter().enumerate() {
        specs.set(number as u32, Pod(spec), 0).map_err(refused("filling map SPECS"))?;
    }
    Ok(())
}

/// Writes the numbers of free slots, once in the life of the maps that daemons share.
pub fn fill_shared(bpf: &mut Ebpf) -> Result<(), LoadError> {
    let mut free: Queue<_, u32> = Queue::try_from(borrow(bpf, "FREE")?).map_err(refused("map FREE"))?;
    for slot in 0..MAX_SLOTS {
        free.push(slot, 0).map_err(refused("filling map FREE"))?;
    }
    Ok(())
}
