// SPDX-License-Identifier: MIT
// Functions whose mangled names use what the two schemes have.
#![crate_type = "cdylib"]
use std::collections::HashMap;
use std::fmt::Debug;

pub trait Shape {
    fn area(&self) -> f64;
    fn named<T: Debug>(&self, other: T) -> String;
}

pub struct Square<const N: usize>(f64);

impl<const N: usize> Shape for Square<N> {
    #[inline(never)]
    fn area(&self) -> f64 {
        self.0 * self.0 + N as f64
    }
    #[inline(never)]
    fn named<T: Debug>(&self, other: T) -> String {
        format!("{:?} {}", other, N)
    }
}

#[inline(never)]
fn generic<A: Debug, B>(a: A, b: impl Fn(&mut [B; 3]) -> *const u8, c: &dyn Debug) -> usize {
    format!("{:?}{:?}", a, c).len() + std::mem::size_of_val(&b)
}

#[inline(never)]
fn calls<F: FnOnce(&'static str, (i32,)) -> bool>(f: F, g: extern "C" fn(u8, ...) -> !) -> bool {
    f("x", (1,)) && g as usize != 0
}

extern "C" {
    fn exit(code: u8, ...) -> !;
}

#[no_mangle]
pub extern "C" fn rust_sample(n: i32) -> usize {
    let s = Square::<7>(n as f64);
    let mut m: HashMap<String, Vec<Option<char>>> = HashMap::new();
    m.insert(s.named(&m.clone()), vec![Some('x')]);
    let r = s.named((1u8, "a", [1i64; 2], &'c' as *const char)).len() + s.named(true).len();
    fn local(x: i32) -> i32 {
        let inner = |y: i32| x.wrapping_mul(y);
        inner(x) + inner(2)
    }
    let f: extern "C" fn(u8, ...) -> ! = unsafe { std::mem::transmute(exit as usize) };
    r + m.len()
        + s.area() as usize
        + generic::<_, u16>(m, |a| a.as_ptr() as *const u8, &n)
        + local(n) as usize
        + calls(|a, b| a.len() as i32 == b.0, f) as usize
}
