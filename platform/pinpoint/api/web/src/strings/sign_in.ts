/** Texts of the view `sign_in`. */
export const signIn = {
  title: "Sign in",
  explanation:
    "Enter an API key, or open the sign-in URL that `pinpoint up` prints on the machine of the " +
    "stack. The key stays in the memory of this page until you close or reload it.",
  key: "API key",
  submit: "Sign in",
  emptyKey: "Enter a key.",
  working: "Signing in …",
  signedIn: "You are signed in.",
  tokenFailed: "The sign-in URL did not work.",
} as const;
