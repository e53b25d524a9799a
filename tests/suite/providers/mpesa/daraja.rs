//! A Daraja that says what it is told to and keeps what it heard.

use std::future::pending;
use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::stream;
use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// With its query.
    pub path: String,
    pub authorization: String,
    pub body: Value,
}

/// What is said to a call.
#[derive(Debug, Clone)]
pub enum Say {
    Json(u16, Value),
    Text(u16, &'static str),
    /// Half an answer, then the end of the connection.
    Break,
    Nothing,
}

struct World {
    say: Say,
    token: Say,
    /// What a call hears whose token is not the last one given out.
    refusal: Value,
    current: String,
    heard: Vec<Request>,
}

pub struct Daraja {
    pub url: String,
    world: Arc<Mutex<World>>,
    server: ServerHandle,
}

pub fn accepted() -> Value {
    json!({
        "ConversationID": "AG_20240706_20106e9209f64bebd05b",
        "OriginatorConversationID": "29115-34620561-1",
        "ResponseCode": "0",
        "ResponseDescription": "Accept the service request successfully.",
    })
}

pub fn error(code: &str, text: &str) -> Value {
    json!({"requestId": "1c5b-4ba8-815c", "errorCode": code, "errorMessage": text})
}

impl Daraja {
    /// One that says `say` to every call with a good token.
    pub fn that_says(say: Say) -> Self {
        let world = Arc::new(Mutex::new(World {
            say,
            token: Say::Json(200, json!({"expires_in": "3599"})),
            refusal: error("404.001.03", "Invalid Access Token"),
            current: String::new(),
            heard: Vec::new(),
        }));
        let data = web::Data::from(Arc::clone(&world));
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .default_service(web::to(answer))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        let running = server.run();
        let server = running.handle();
        tokio::spawn(running);
        Self { url, world, server }
    }

    pub fn that_accepts() -> Self {
        Self::that_says(Say::Json(200, accepted()))
    }

    pub fn say(&self, say: Say) {
        self.world.lock().unwrap().say = say;
    }

    /// What the token's endpoint says; `access_token` is filled in where it is missing.
    pub fn say_of_tokens(&self, say: Say) {
        self.world.lock().unwrap().token = say;
    }

    /// Ends the current token; from now on calls with an old one hear `refusal`.
    pub fn end_token(&self, refusal: Value) {
        let mut world = self.world.lock().unwrap();
        world.current = "another".to_owned();
        world.refusal = refusal;
    }

    /// The calls so far, without those for a token.
    pub fn calls(&self) -> Vec<Request> {
        let heard = self.world.lock().unwrap().heard.clone();
        heard.into_iter().filter(|call| !is_oauth(call)).collect()
    }

    /// The calls for a token so far.
    pub fn token_calls(&self) -> Vec<Request> {
        let heard = self.world.lock().unwrap().heard.clone();
        heard.into_iter().filter(is_oauth).collect()
    }
}

impl Drop for Daraja {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

fn is_oauth(request: &Request) -> bool {
    request.path.starts_with("/oauth/")
}

async fn answer(
    world: web::Data<Mutex<World>>,
    request: HttpRequest,
    body: web::Bytes,
) -> HttpResponse {
    let authorization = request.headers().get("authorization");
    let request = Request {
        path: request.uri().to_string(),
        authorization: authorization
            .map_or_else(String::new, |value| value.to_str().unwrap().to_owned()),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let say = {
        let mut world = world.lock().unwrap();
        world.heard.push(request.clone());
        if is_oauth(&request) {
            token(&mut world)
        } else if request.authorization == format!("Bearer {}", world.current) {
            world.say.clone()
        } else {
            Say::Json(404, world.refusal.clone())
        }
    };
    match say {
        Say::Json(status, body) => {
            HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(body)
        }
        Say::Text(status, body) => {
            HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(body)
        }
        Say::Break => HttpResponse::Ok().streaming(stream::iter([
            Ok(web::Bytes::from_static(b"{\"ResponseCode\":\"0\",")),
            Err(std::io::Error::other("gone")),
        ])),
        Say::Nothing => pending().await,
    }
}

fn token(world: &mut World) -> Say {
    let mut say = world.token.clone();
    if let Say::Json(200, body) = &mut say
        && body.get("access_token").is_none()
    {
        let count = world.heard.iter().filter(|call| is_oauth(call)).count();
        world.current = format!("token-{count}");
        body["access_token"] = json!(world.current);
    }
    say
}
