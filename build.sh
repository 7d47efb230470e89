#!/usr/bin/env bash
# Build Mainstem's container images with docker or buildah.
#   ./build.sh [OPTIONS] [IMAGE...] [-- BUILDER-OPTIONS...]     all images, or those that are named
#
#   --tag TAG          of every image (default: the version in pyproject.toml)
#   --registry HOST/X  what their names begin with, such as registry.example.org/team (default: nothing)
#   --base-image NAME  a Debian with Python 3.11 to 3.13 and pip (default: python:3.11-slim)
#   --push             push them to the registry
#   --save DIRECTORY   write each as DIRECTORY/IMAGE.tar, for a node without a registry (kind, k3s, ctr)
#   --builder NAME     docker or buildah (default: docker where its daemon answers, else buildah)
#   --compressed       also tell the sizes as a registry keeps them (takes longer)
#   --list             the images' names
#
# A full build first makes what is missing of kustomize/local's secrets, and at its end has kustomize/components/images
# name these images. What follows -- goes to the builder, such as --no-cache or --network=host.
set -euo pipefail
cd "$(dirname "$0")"

die() { printf 'error: %s\n' "$*" >&2; exit 1; }
need() { [ $# -ge 2 ] || die "$1 needs a value; see ./build.sh --help"; }

everything=()
for file in docker/*.Dockerfile; do everything+=("$(basename "$file" .Dockerfile)"); done
tag=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) registry='' base=python:3.11-slim builder='' save=''
push=no compressed=no images=() extra=()
while [ $# -gt 0 ]; do
    case $1 in
        --tag | --registry | --base-image | --builder | --save) need "$@" ;;&
        --tag) tag=$2 && shift ;;
        --registry) registry=${2%/} && shift ;;
        --base-image) base=$2 && shift ;;
        --builder) builder=$2 && shift ;;
        --save) save=$2 && shift ;;
        --push) push=yes ;;
        --compressed) compressed=yes ;;
        --list) printf '%s\n' "${everything[@]}" && exit 0 ;;
        -h | --help) sed -n '2,16s/^# \{0,1\}//p' "$0" && exit 0 ;;
        --) shift && extra=("$@") && break ;;
        -*) die "unknown option $1; see ./build.sh --help" ;;
        *) [ -f "docker/$1.Dockerfile" ] || die "there is no image $1; there are ${everything[*]}" && images+=("$1") ;;
    esac
    shift
done
[ "$push" = no ] || [ -n "$registry" ] || die "--push needs --registry: where to?"
whole=no
[ ${#images[@]} -gt 0 ] || { images=("${everything[@]}") && whole=yes; }
if [ -z "$builder" ]; then
    if docker info >/dev/null 2>&1; then builder=docker
    elif command -v buildah >/dev/null; then builder=buildah
    else die "neither a docker daemon answers nor buildah is installed (Debian, Ubuntu: 'sudo apt install buildah crun')"
    fi
fi
case $builder in docker | buildah) ;; *) die "--builder is $builder; it must be docker or buildah" ;; esac

build() { # build IMAGE REFERENCE
    local common=(
        --file "docker/$1.Dockerfile" --tag "$2" --build-arg "BASE_IMAGE=$base" --build-arg "VERSION=$tag"
        --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" "${extra[@]}" .
    )
    # Without a daemon: the host's network and no container of its own for a step, so that it works inside containers.
    case $builder in
        docker) docker build "${common[@]}" ;;
        buildah) buildah build --layers --format docker --network host --isolation chroot "${common[@]}" ;;
    esac
}
push_image() { case $builder in docker) docker push "$1" ;; buildah) buildah push "$1" ;; esac; }
save_image() { # save_image REFERENCE FILE
    rm -f "$2"
    case $builder in docker) docker save --output "$2" "$1" ;; buildah) buildah push --quiet "$1" "docker-archive:$2:$1" ;; esac
}
bytes() {
    case $builder in
        docker) docker image inspect --format '{{.Size}}' "$1" ;;
        buildah) buildah images --json "$1" | sed -n 's/.*"size": *"\([0-9.]* [kMG]*B\)".*/\1/p' | head -n 1 |
            awk '{ f["B"] = 1; f["kB"] = 1e3; f["KB"] = 1e3; f["MB"] = 1e6; f["GB"] = 1e9; printf "%.0f", $1 * f[$2] }' ;;
    esac
}
packed() { # packed REFERENCE: bytes of its layers under gzip
    local file
    file=$(mktemp -d)
    save_image "$1" "$file/image.tar" >&2
    mkdir "$file/image" && tar -xf "$file/image.tar" -C "$file/image" && rm "$file/image.tar"
    find "$file/image" -type f -size +64k -print0 | xargs -0 -I '{}' gzip --to-stdout '{}' | wc -c
    rm -rf "$file"
}
megabytes() { awk -v n="$1" 'BEGIN { printf "%.1f MB", n / 1e6 }'; }

# Before all else: `kubectl apply -k kustomize/local` needs them, and its pods wait for images that come later.
[ $whole = no ] || kustomize/make-secrets.sh local
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -z "$save" ] || mkdir -p "$save"
said=()
for image in "${images[@]}"; do
    reference=${registry:+$registry/}$image:$tag begin=$SECONDS
    printf '%s: building with %s on %s\n' "$reference" "$builder" "$base" >&2
    if ! build "$image" "$reference" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        die "$image could not be built; the reason is above"
    fi
    took=$((SECONDS - begin)) size=$(megabytes "$(bytes "$reference")")
    [ $compressed = no ] || size="$size, $(megabytes "$(packed "$reference")") compressed"
    [ $push = no ] || push_image "$reference" >&2
    [ -z "$save" ] || save_image "$reference" "$save/$image.tar" >&2
    said+=("$reference: $size, $took s")
done

if [ $whole = yes ]; then
    file=kustomize/components/images/kustomization.yaml
    for image in "${images[@]}"; do
        sed -i.old -e "/^  - name: $image\$/,/newTag/{s#newName: .*#newName: ${registry:+$registry/}$image#;s#newTag: .*#newTag: $tag#;}" "$file"
    done
    cmp -s "$file" "$file.old" || printf '%s names these images now\n' "$file" >&2
    rm -f "$file.old"
fi
printf '%s\n' "${said[@]}"
