//! Values that are not strings, by their type.

use std::any::{Any, TypeId};
use std::fmt;

/// A map from types to values: at most one value of each type.
///
/// ```
/// # use amboss_core::Extensions;
/// struct User(&'static str);
/// let mut extensions = Extensions::default();
/// extensions.insert(User("ada"));
/// assert_eq!(extensions.get::<User>().unwrap().0, "ada");
/// ```
#[derive(Default)]
pub struct Extensions(Vec<(TypeId, Box<dyn Any + Send>)>);

impl Extensions {
    /// Inserts a value; it replaces a value of the same type.
    pub fn insert<T: Any + Send>(&mut self, value: T) {
        self.0.retain(|(id, _)| *id != TypeId::of::<T>());
        self.0.push((TypeId::of::<T>(), Box::new(value)));
    }

    /// The value of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        let (_, value) = self.0.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_ref()
    }

    /// The value of this type, for changing it.
    pub fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        let (_, value) = self.0.iter_mut().find(|(id, _)| *id == TypeId::of::<T>())?;
        value.downcast_mut()
    }

    /// Removes and returns the value of this type.
    pub fn remove<T: Any>(&mut self) -> Option<T> {
        let index = self.0.iter().position(|(id, _)| *id == TypeId::of::<T>())?;
        self.0.swap_remove(index).1.downcast().ok().map(|value| *value)
    }

    /// Whether there is no value.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all values, for a caller that drops them one by one.
    #[inline]
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Box<dyn Any + Send>> {
        std::mem::take(&mut self.0).into_iter().map(|(_, value)| value)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extensions({})", self.0.len())
    }
}
