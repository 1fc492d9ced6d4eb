/**
 * Labels of DataChannels.
 */

/**
 * Those of an application's own (`sora-protocol.md` section 3.1).
 *
 * @internal
 */
export const UserLabel: RegExp = /^#[a-zA-Z0-9][a-zA-Z0-9-]{1,30}$/
