// SPDX-License-Identifier: MIT
//! peers/peer.h, by way of retour's RawDetour.

use retour::RawDetour;
use std::os::raw::{c_int, c_void};
use std::sync::Mutex;

static DETOURS: Mutex<Vec<RawDetour>> = Mutex::new(Vec::new());

/// # Safety
/// `target` and `replacement` are functions of the same type.
#[no_mangle]
pub unsafe extern "C" fn peer_replace(
    target: *mut c_void,
    replacement: *mut c_void,
    original: *mut *const c_void,
) -> c_int {
    let detour = match RawDetour::new(target as *const (), replacement as *const ()) {
        Ok(detour) => detour,
        Err(_) => return 1,
    };
    *original = detour.trampoline() as *const () as *const c_void;
    if detour.enable().is_err() {
        return 2;
    }
    DETOURS.lock().unwrap().push(detour);
    0
}

/// Undoes every detour; dropping one disables it.
#[no_mangle]
pub extern "C" fn peer_restore() {
    DETOURS.lock().unwrap().clear();
}
