//! Checks of the options that need more than the options themselves.

use amboss_core::Address;

use crate::error::RunError;
use crate::options::RunOptions;

impl RunOptions {
    /// Checks the options of a server with these addresses, without starting it.
    ///
    /// # Errors
    /// Returns an error if options contradict each other, or name a file or a folder that can't be served.
    pub fn check(&self, addresses: &[Address]) -> Result<(), RunError> {
        self.clone().resolve()?;
        #[cfg(feature = "debugger")]
        crate::debug_pages::check_addresses(self, addresses)?;
        #[cfg(not(feature = "debugger"))]
        let _ = addresses;
        #[cfg(feature = "toolkit")]
        crate::surroundings::check(self)?;
        Ok(())
    }

    /// Prints a line about options that put the user at risk. A server does so when it starts, and a supervisor in place
    /// of its workers.
    pub fn warn(&self) {
        #[cfg(feature = "debugger")]
        if self.use_debugger && self.debug_anywhere {
            say!("{}", crate::debug_pages::WARNING);
        }
    }
}
