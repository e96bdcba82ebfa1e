//! Has the processor fetch memory ahead of its use.

/// Begins to fetch `len` bytes into the cache, and does not wait for them. Any address will do: nothing
/// is read that the program would notice. Does nothing on processors for which Rust has no such call.
#[inline]
pub fn prefetch(first: *const u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let last = first.wrapping_add(len.saturating_sub(1));
        let mut line = first;
        while line.addr() | (LINE_LEN - 1) < last.addr() | (LINE_LEN - 1) {
            // SAFETY: a prefetch of any address whatever is a hint that cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
            line = line.wrapping_add(LINE_LEN);
        }
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(last.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (first, len);
}

/// Bytes that move between memory and cache at once.
#[cfg(target_arch = "x86_64")]
const LINE_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_and_length_will_do() {
        let bytes = [1_u8; 300];
        for (first, len) in [(bytes.as_ptr(), 300), (bytes.as_ptr(), 0), (std::ptr::null(), 100)] {
            prefetch(first, len);
        }
        prefetch(usize::MAX as *const u8, 1);
    }
}
