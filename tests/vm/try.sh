# try NAME COMMAND…: tells whether it was done, refused, or what else it met; under the script's own `part`.
try() {
    name=$1
    shift
    if said=$("$@" 2>&1 </dev/null); then
        came=done
    else
        case $said in
        *'Permission denied'*) came=refused ;;
        *'Connection refused'*) came=reached ;;
        *) came="failed: $said" ;;
        esac
    fi
    printf '#\t%s %s\t%s\n' "$part" "$name" "$came"
}

# outside NAME: has somebody who is no agent make /w/busybox.NAME, and tries it.
outside() {
    touch "/w/$1.go"
    while [ ! -e "/w/$1.gone" ]; do sleep 0.1; done
    try outside "/w/busybox.$1" true
}
