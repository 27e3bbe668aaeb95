#!/usr/bin/env bash
# Prints images.env with the digest of each tag, read from its registry. Needs docker with buildx
# and network. Keep the output with the installation, and give it to compose and to the build:
#   deploy/docker/pin-images.sh >images.pinned.env
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

while IFS= read -r line; do
    case $line in
        '' | '#'*) printf '%s\n' "$line" ;;
        *)
            tag=${line#*=}
            digest=$(docker buildx imagetools inspect "$tag" --format '{{.Manifest.Digest}}')
            [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "no digest of $tag: $digest" >&2; exit 1; }
            printf '%s@%s\n' "$line" "$digest"
            ;;
    esac
done <images.env
