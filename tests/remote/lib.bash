# What the tests with servers share: that of the mount tests, and servers on the loopback interface that end with the test.
# shellcheck disable=SC2034 # variables are for the test files
# shellcheck source=tests/mount/lib.bash
source "$BATS_TEST_DIRNAME/../mount/lib.bash"

unset "${!AWS_@}" http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY SSL_CERT_FILE CURL_CA_BUNDLE
export no_proxy='*' XDG_CACHE_HOME

setup() {
	setup_dirs
	XDG_CACHE_HOME=$T/xdg
	WWW=$T/www
	mkdir "$WWW"
}

# documents N [FIRST]: prints N records with payloads of some hundred bytes.
documents() {
	perl -e 'for my $i ($ARGV[1] .. $ARGV[1] + $ARGV[0] - 1) {
		printf qq({"id":%d,"payload":{"n":%d,"text":"%s","list":[%s]}}\n),
			$i, $i, "word$i " x ($i % 40), join(",", map { $i * $_ } 1 .. $i % 30);
	}' "$1" "${2:-1}"
}

# ---- nginx ----

# start_nginx [DIRECTIVE]: serves $WWW at $URL; each request is a line of $REQUESTS: METHOD URI STATUS BYTES RANGE PROTOCOL. The
# directive goes into the server's block. NGINX_PORT: at that port, else at one that is free.
start_nginx() {
	local port=${NGINX_PORT:-$(free_port)} user=
	((EUID)) || user='user root;'
	mkdir -p "$T/nginx"
	cat >"$T/nginx/nginx.conf" <<-EOT
		daemon off; master_process off; $user pid $T/nginx/pid; error_log $T/nginx/error.log;
		events { worker_connections 512; }
		http {
			log_format short '\$request_method \$uri \$status \$body_bytes_sent \$http_range \$server_protocol';
			access_log $T/nginx/requests short;
			client_body_temp_path $T/nginx/1; proxy_temp_path $T/nginx/2; fastcgi_temp_path $T/nginx/3;
			uwsgi_temp_path $T/nginx/4; scgi_temp_path $T/nginx/5;
			server { listen 127.0.0.1:$port ${NGINX_TLS:+ssl http2}; root $WWW; ${1:-} }
		}
	EOT
	if [[ -n ${NGINX_TLS:-} ]]; then
		sed -i "s|root $WWW;|& ssl_certificate $NGINX_TLS; ssl_certificate_key $NGINX_TLS;|" "$T/nginx/nginx.conf"
	fi
	REQUESTS=$T/nginx/requests
	"$(command -v nginx || echo /usr/sbin/nginx)" -c "$T/nginx/nginx.conf" -p "$T/nginx" </dev/null >"$T/nginx/out" 2>&1 3>&- &
	nginx_pid=$!
	NGINX_PORT=$port
	URL=http${NGINX_TLS:+s}://localhost:$port
	wait_for 30 listens "$port" || fail "nginx: $(<"$T/nginx/out") $(<"$T/nginx/error.log")"
}

stop_nginx() {
	kill -QUIT "$nginx_pid"
	wait "$nginx_pid" || true
}

listens() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# How many requests there were since the last call of forget_requests; of those whose line has the words.
requests() { tail -n "+$((seen + 1))" "$REQUESTS" | grep -cF -- "${1:-}" || true; }
forget_requests() {
	# The line of a request that was answered may come after the answer.
	local now=-1
	until [[ $now == "${seen:-}" ]]; do
		now=${seen:-}
		sleep 0.05
		seen=$(wc -l <"$REQUESTS")
	done
}
settle_requests() {
	local before=$seen
	forget_requests
	seen=$before
}

# make_ca: a certificate authority $CA and, signed by it, certificates of localhost ($CERT), of another name ($OTHER), and
# of yesterday ($OLD), each with its key in one file.
make_ca() {
	CA=$T/ca.pem CERT=$T/cert.pem OTHER=$T/other.pem OLD=$T/old.pem
	openssl req -x509 -newkey rsa:2048 -nodes -subj '/CN=test authority' -days 2 -keyout "$T/ca.key" -out "$CA" 2>/dev/null
	certificate localhost "$CERT" "$(date -u -d yesterday +%y%m%d%H%M%SZ)" "$(date -u -d 'now + 2 days' +%y%m%d%H%M%SZ)"
	certificate example.org "$OTHER" "$(date -u -d yesterday +%y%m%d%H%M%SZ)" "$(date -u -d 'now + 2 days' +%y%m%d%H%M%SZ)"
	certificate localhost "$OLD" "$(date -u -d 'now - 3 days' +%y%m%d%H%M%SZ)" "$(date -u -d yesterday +%y%m%d%H%M%SZ)"
}

certificate() { # NAME FILE FROM TO
	mkdir -p "$T/authority"
	: >"$T/authority/index"
	echo 01 >"$T/authority/serial"
	printf '%s\n' '[ca]' 'default_ca=a' '[a]' "database=$T/authority/index" "serial=$T/authority/serial" \
		"new_certs_dir=$T/authority" 'default_md=sha256' 'policy=p' 'x509_extensions=x' 'unique_subject=no' \
		'[p]' 'commonName=supplied' '[x]' "subjectAltName=DNS:$1,DNS:bucket-1.$1" >"$T/authority/conf"
	openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$2.key" -out "$2.csr" 2>/dev/null
	openssl ca -batch -config "$T/authority/conf" -cert "$CA" -keyfile "$T/ca.key" -startdate "$3" -enddate "$4" \
		-in "$2.csr" -out "$2.crt" -notext 2>"$T/authority/out" || fail "$(<"$T/authority/out")"
	cat "$2.crt" "$2.key" >"$2"
}

# ---- S3 ----

# start_s3 [OPTION...]: at $AWS_ENDPOINT_URL, with the credentials that it wants in the environment. Its requests as above.
start_s3() {
	mkdir -p "$T/s3"
	rm -f "$T/s3.port"
	REQUESTS=$T/s3.log
	: >"$REQUESTS"
	seen=0
	python3 "$root/tests/remote/s3_server.py" --root "$T/s3" --port-file "$T/s3.port" --log "$REQUESTS" "$@" \
		</dev/null >"$T/s3.out" 2>&1 3>&- &
	s3_pid=$!
	wait_for 60 test -e "$T/s3.port" || fail "$(<"$T/s3.out")"
	export AWS_ACCESS_KEY_ID=AKIDTEST AWS_SECRET_ACCESS_KEY=secret/with+signs= AWS_REGION=test-region-1
	export AWS_ENDPOINT_URL
	AWS_ENDPOINT_URL=http://localhost:$(<"$T/s3.port")
	COLLECTION="s3://bucket-1/some prefix/ä+~%"
}
