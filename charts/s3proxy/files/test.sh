# The script of `helm test`, for an image with curl. Needs ENDPOINT, SERVICE, REGION; BUCKET, AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY may be empty. AUTHORITY is the path of an authority's certificate, which may be missing.
authority=${AUTHORITY:-/authority/ca.crt}
[ -s "$authority" ] || authority=

command -v curl >/dev/null || { echo "the image in tests.image has no curl"; exit 1; }

# Uses the endpoint's name, and connects to the Service. The credential is on no command line. Older versions of
# curl do not add S3's header.
ask() {
    credential=
    if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
        credential="aws-sigv4 = \"aws:amz:$REGION:s3\"
header = \"x-amz-content-sha256: UNSIGNED-PAYLOAD\"
user = \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\""
    fi
    curl --silent --show-error --max-time 60 --connect-to "::$SERVICE" ${authority:+--cacert "$authority"} \
        --config - "$@" <<END
$credential
END
}

echo "asking $ENDPOINT at $SERVICE"
if [ -z "${AWS_ACCESS_KEY_ID:-}" ]; then
    # No Secret has a client's credential, so a refusal with S3's error code is the best possible result.
    # With config.auth=none the request succeeds.
    answer=$(ask "$ENDPOINT/")
    case $answer in
        *"<Code>AccessDenied</Code>"* | *"<ListAllMyBucketsResult"*) echo "S3 responds; set tests.existingSecret to send signed requests" ;;
        *) echo "not a response of S3: $answer" && exit 1 ;;
    esac
    exit 0
fi
if [ -z "$BUCKET" ]; then
    ask --fail-with-body --output /dev/null "$ENDPOINT/"
    echo "ListBuckets: done. Set tests.bucket to test reading and writing"
    exit 0
fi
ask --fail --head --output /dev/null "$ENDPOINT/$BUCKET"
echo "HeadBucket $BUCKET: done"
object=$ENDPOINT/$BUCKET/s3proxy-helm-test/$(hostname)
ask --fail-with-body --request PUT --header "Content-Type: text/plain" --data-binary "written by helm test" "$object"
answer=$(ask --fail-with-body "$object")
ask --fail-with-body --request DELETE "$object"
[ "$answer" = "written by helm test" ] || { echo "the object that was read differs from the one that was written: $answer"; exit 1; }
echo "PutObject, GetObject, DeleteObject: done"
