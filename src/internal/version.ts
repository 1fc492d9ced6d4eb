/**
 * The version in package.json; a test holds the two together.
 *
 * @internal
 */
export const Version = "0.1.0"
