/** Texts of the view `sign_in`. */
export const title = "Sign in";
export const explanation =
  "Enter an API key, or open the sign-in URL that `pinpoint up` prints on the machine of the " +
  "stack. The key stays in the memory of this page until you close or reload it.";
export const key = "API key";
export const submit = "Sign in";
export const emptyKey = "Enter a key.";
export const working = "Signing in …";
export const signedIn = "You are signed in.";
export const tokenFailed = "The sign-in URL did not work.";
