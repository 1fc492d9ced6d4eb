/** The version in package.json; a test holds the two together. */
export const Version = "0.1.0"
